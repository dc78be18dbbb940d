#include "gateway/internal/response.h"

namespace leeward::gateway {
namespace {

constexpr std::uint8_t kOk = 0x00, kErr = 0xff, kEof = 0xfe, kLocalInfile = 0xfb;

bool is_eof(std::uint32_t length, wire::Bytes p) { return p[0] == kEof && length < 9; }

}  // namespace

void ResponseTracker::expect(std::uint8_t command) {
  failed_ = false;
  last_insert_id_ = 0;
  prepared_.reset();
  switch (command) {
    case wire::kStatistics:
      part_ = Part::kOnePacket;
      break;
    case wire::kFieldList:
      part_ = Part::kFieldList;
      break;
    case wire::kStmtPrepare:
      part_ = Part::kPrepareFirst;
      break;
    case wire::kStmtFetch:
      part_ = Part::kRows;
      break;
    case wire::kChangeUser:
      part_ = Part::kChangeUser;
      break;
    case wire::kBinlogDump:
    case wire::kTableDump:
      part_ = Part::kEndless;
      break;
    default:
      part_ = Part::kFirst;
  }
}

ResponseTracker::Result ResponseTracker::packet(std::uint32_t length, wire::Bytes p) {
  if (part_ == Part::kOnePacket) return Result::kDone;
  if (part_ == Part::kEndless) return Result::kMore;
  if (p.empty()) return part_ == Part::kRows ? Result::kMore : Result::kMalformed;
  if (p[0] == kErr) return error();
  switch (part_) {
    case Part::kFirst:
      return first(length, p);
    case Part::kColumns:
      if (!is_eof(length, p)) return Result::kMore;
      if (p.size() >= 5 && (wire::u16(&p[3]) & wire::kCursorExists)) return end_of_result(p);
      part_ = Part::kRows;
      return Result::kMore;
    case Part::kRows:
      return is_eof(length, p) ? end_of_result(p) : Result::kMore;
    case Part::kFieldList:
      return is_eof(length, p) ? end_of_result(p) : Result::kMore;
    case Part::kPrepareFirst:
      return prepare_first(p);
    case Part::kPrepareParameters:
      if (!is_eof(length, p)) return Result::kMore;
      part_ = Part::kPrepareColumns;
      return columns_ > 0 ? Result::kMore : Result::kDone;
    case Part::kPrepareColumns:
      return is_eof(length, p) ? Result::kDone : Result::kMore;
    case Part::kChangeUser:
      return p[0] == kOk ? ok(p) : Result::kWantsData;
    case Part::kOnePacket:
    case Part::kEndless:
      break;
  }
  return Result::kMalformed;
}

ResponseTracker::Result ResponseTracker::first(std::uint32_t length, wire::Bytes p) {
  if (p[0] == kOk) return ok(p);
  if (p[0] == kLocalInfile) return Result::kWantsData;
  if (is_eof(length, p)) return end_of_result(p);
  part_ = Part::kColumns;
  return Result::kMore;
}

ResponseTracker::Result ResponseTracker::ok(wire::Bytes p) {
  wire::Reader r(p.subspan(1));
  r.lenenc();  // affected rows
  const std::uint64_t insert_id = r.lenenc();
  const std::uint32_t status = r.fixed16();
  if (!r.ok()) return Result::kMalformed;
  if (insert_id != 0) last_insert_id_ = insert_id;
  status_ = static_cast<std::uint16_t>(status);
  part_ = Part::kFirst;
  return status_ & wire::kMoreResults ? Result::kMore : Result::kDone;
}

ResponseTracker::Result ResponseTracker::end_of_result(wire::Bytes p) {
  if (p.size() < 5) return Result::kMalformed;
  status_ = static_cast<std::uint16_t>(wire::u16(&p[3]));
  part_ = Part::kFirst;
  return status_ & wire::kMoreResults ? Result::kMore : Result::kDone;
}

ResponseTracker::Result ResponseTracker::prepare_first(wire::Bytes p) {
  // 0x00, statement id (4), columns (2), parameters (2), filler, warnings (2)
  if (p[0] != kOk || p.size() < 9) return Result::kMalformed;
  columns_ = static_cast<std::uint16_t>(wire::u16(&p[5]));
  prepared_ = Prepared{wire::u32(&p[1]), static_cast<std::uint16_t>(wire::u16(&p[7]))};
  if (prepared_->parameters > 0)
    part_ = Part::kPrepareParameters;
  else
    part_ = Part::kPrepareColumns;
  return prepared_->parameters == 0 && columns_ == 0 ? Result::kDone : Result::kMore;
}

ResponseTracker::Result ResponseTracker::error() {
  failed_ = true;
  return Result::kDone;
}

}  // namespace leeward::gateway
