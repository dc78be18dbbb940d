#include "waf/internal/regex.h"

#include <time.h>

#include <algorithm>

#include "base/check.h"

namespace leeward::waf {
namespace {

constexpr std::size_t kStackFirst = 32u << 10;
constexpr std::size_t kStackMax = 512u << 10;
constexpr std::uint32_t kHeapKibMax = 16u << 10;  // of the interpreter, when the stack is too small

// Of the first part; the next has twice as many while parts are quick.
constexpr std::size_t kPlacesFirst = 16;
constexpr std::size_t kPlacesMax = 1024;
constexpr std::chrono::nanoseconds kQuick = std::chrono::microseconds(200);

constexpr std::size_t kShort = 256;  // bytes that are searched at once
constexpr std::size_t kWindow = 8u << 10;
constexpr std::size_t kLong = 2 * kWindow;  // of a text that is tried in windows first
constexpr std::chrono::nanoseconds kWindowTimeMax = std::chrono::microseconds(160);

std::chrono::nanoseconds processor_time() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

}  // namespace

namespace {

// A letter stands for itself in both cases, because of expressions that ignore case.
void set_byte(std::bitset<256>& bytes, std::uint32_t code) {
  const auto c = static_cast<unsigned char>(code);
  bytes.set(c);
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) bytes.set(c ^ 0x20u);
}

// With what a match begins, as PCRE2 knows. An expression that matches the empty text has neither.
std::bitset<256> first_bytes_of(const pcre2_code* code) {
  std::bitset<256> bytes;
  std::uint32_t type = 0, unit = 0;
  const std::uint8_t* map = nullptr;
  if (pcre2_pattern_info(code, PCRE2_INFO_FIRSTCODETYPE, &type) == 0 && type == 1 &&
      pcre2_pattern_info(code, PCRE2_INFO_FIRSTCODEUNIT, &unit) == 0)
    set_byte(bytes, unit);
  else if (pcre2_pattern_info(code, PCRE2_INFO_FIRSTBITMAP, &map) == 0 && map != nullptr)
    for (std::uint32_t c = 0; c < 256; ++c)
      if ((map[c / 8] >> (c % 8) & 1) != 0) set_byte(bytes, c);
  return bytes.none() ? ~bytes : bytes;
}

// The last literal byte that every match has.
std::bitset<256> needed_bytes_of(const pcre2_code* code) {
  std::bitset<256> bytes;
  std::uint32_t type = 0, unit = 0;
  if (pcre2_pattern_info(code, PCRE2_INFO_LASTCODETYPE, &type) == 0 && type == 1 &&
      pcre2_pattern_info(code, PCRE2_INFO_LASTCODEUNIT, &unit) == 0)
    set_byte(bytes, unit);
  return bytes.none() ? ~bytes : bytes;
}

}  // namespace

RegexRoom::RegexRoom(std::uint32_t match_limit)
    : context_(pcre2_match_context_create(nullptr)),
      data_(pcre2_match_data_create(Regex::kGroupsMax, nullptr)),
      stack_(pcre2_jit_stack_create(kStackFirst, kStackMax, nullptr)) {
  LEEWARD_CHECK(context_ != nullptr && data_ != nullptr && stack_ != nullptr);
  pcre2_set_match_limit(context_, match_limit);
  pcre2_set_heap_limit(context_, kHeapKibMax);
  pcre2_jit_stack_assign(context_, nullptr, stack_);
}

RegexRoom::~RegexRoom() {
  pcre2_jit_stack_free(stack_);
  pcre2_match_data_free(data_);
  pcre2_match_context_free(context_);
}

void RegexRoom::set_match_limit(std::uint32_t steps) { pcre2_set_match_limit(context_, steps); }

void RegexRoom::restart(std::chrono::nanoseconds time_max) {
  time_max_ = time_max;
  searches_ = 0;
  began_ = {};
  spent_ = false;
}

void RegexRoom::look_at_time() {
  // To ask for the processor's time is a call of the kernel, and it cannot be more than has passed.
  const auto now = std::chrono::steady_clock::now();
  if (began_ == std::chrono::nanoseconds{}) {
    began_ = processor_time();
    began_at_ = now;
  }
  if (now - began_at_ > time_max_) spent_ = processor_time() - began_ > time_max_;
}

std::size_t RegexRoom::group_begin(int group) const {
  return pcre2_get_ovector_pointer(data_)[2 * group];
}
std::size_t RegexRoom::group_end(int group) const {
  return pcre2_get_ovector_pointer(data_)[2 * group + 1];
}

std::string_view RegexRoom::group(std::string_view subject, int group) const {
  const std::size_t begin = group_begin(group), end = group_end(group);
  // A group that took no part is unset; \K may end a match before it begins.
  if (begin == PCRE2_UNSET || begin > end) return {};
  return subject.substr(begin, end - begin);
}

Result<std::shared_ptr<const Regex>> Regex::compile(std::string_view pattern, bool ignore_case) {
  std::shared_ptr<Regex> regex(new Regex());
  regex->pattern_ = pattern;
  std::uint32_t options = PCRE2_DOTALL | PCRE2_MULTILINE | PCRE2_USE_OFFSET_LIMIT;
  if (ignore_case) options |= PCRE2_CASELESS;
  int error = 0;
  std::size_t offset = 0;
  regex->code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                               options, &error, &offset, nullptr);
  if (regex->code_ == nullptr) {
    PCRE2_UCHAR text[256];
    pcre2_get_error_message(error, text, sizeof text);
    return fail(Code::kInvalid, "the regular expression is wrong at its byte {}: {}", offset + 1,
                reinterpret_cast<const char*>(text));
  }
  regex->jit_ = pcre2_jit_compile(regex->code_, PCRE2_JIT_COMPLETE) == 0;
  regex->first_ = first_bytes_of(regex->code_);
  regex->needed_ = needed_bytes_of(regex->code_);
  return std::shared_ptr<const Regex>(std::move(regex));
}

Regex::~Regex() { pcre2_code_free(code_); }

int Regex::search(std::string_view subject, RegexRoom& room, std::size_t from,
                  std::uint32_t options) const {
  if (++room.searches_ % RegexRoom::kLooksEvery == 0) room.look_at_time();
  if (room.spent_) return kLimit;
  if (subject.size() - from <= kShort) return search_part(subject, room, from, options);
  room.look_at_time();
  if (jit_ && options == 0 && subject.size() > kLong && grows_too_fast(subject, room))
    options = PCRE2_NO_JIT;
  return search_in_parts(subject, room, from, options);
}

bool Regex::grows_too_fast(std::string_view subject, RegexRoom& room) const {
  for (std::size_t at = 0; at < subject.size(); at += kWindow) {
    const std::string_view window = subject.substr(at, kWindow);
    const std::chrono::nanoseconds began = processor_time();
    if (search_in_parts(window, room, 0, 0) == kLimit) return true;
    if (processor_time() - began > kWindowTimeMax) return true;
  }
  return false;
}

int Regex::search_in_parts(std::string_view subject, RegexRoom& room, std::size_t from,
                           std::uint32_t options) const {
  std::size_t places = kPlacesFirst;
  for (std::chrono::nanoseconds before = processor_time();;) {
    const bool last = subject.size() - from < places;
    if (!last) pcre2_set_offset_limit(room.context_, from + places - 1);
    const int found = search_part(subject, room, from, options);
    pcre2_set_offset_limit(room.context_, PCRE2_UNSET);
    if (found != kNoMatch || last) return found;
    from += places;
    const std::chrono::nanoseconds now = processor_time();
    room.spent_ = now - room.began_ > room.time_max_;
    if (room.spent_) return kLimit;
    places = now - before < kQuick ? std::min(places * 2, kPlacesMax) : places / 2 + 1;
    before = now;
  }
}

int Regex::search_part(std::string_view subject, RegexRoom& room, std::size_t from,
                       std::uint32_t options) const {
  static constexpr char kEmpty = 0;
  const auto* text = reinterpret_cast<PCRE2_SPTR>(subject.data() ? subject.data() : &kEmpty);
  int found = PCRE2_ERROR_JIT_STACKLIMIT;
  if (jit_ && options == 0)  // the short way: no check of arguments
    found = pcre2_jit_match(code_, text, subject.size(), from, options, room.data_, room.context_);
  if (found == PCRE2_ERROR_JIT_STACKLIMIT)
    found = pcre2_match(code_, text, subject.size(), from, options | PCRE2_NO_JIT, room.data_,
                        room.context_);
  if (found == PCRE2_ERROR_NOMATCH) return kNoMatch;
  if (found < 0) return kLimit;
  return found == 0 ? kGroupsMax : found;  // 0: more groups than there is room for
}

}  // namespace leeward::waf
