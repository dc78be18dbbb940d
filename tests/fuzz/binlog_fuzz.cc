// A binary log as a server would send it: events one after the other, each with its size in its
// header. Whatever decodes is also turned round.
#include <cstdint>
#include <string_view>
#include <vector>

#include "database/internal/extract.h"
#include "database/internal/undo.h"
#include "mysql/binlog.h"
#include "mysql/bytes.h"

using namespace leeward::database::internal;
namespace mysql = leeward::mysql;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mysql::DecoderContext context;
  context.text_kind = [](std::uint32_t collation) {
    return static_cast<mysql::TextKind>(collation % 3);
  };
  context.disguise = [](std::string_view, std::string_view, std::string_view column) {
    return static_cast<mysql::Disguise>(column.size() % 4);
  };
  mysql::BinlogDecoder decoder(context);
  std::string_view log(reinterpret_cast<const char*>(data), size);
  std::vector<mysql::Transaction> undoable;
  while (log.size() >= 19) {
    mysql::Bytes header(log.substr(9, 4));
    std::size_t event_size = std::min<std::size_t>(header.little(4), log.size());
    if (event_size < 19) break;
    auto fed = decoder.feed(log.substr(0, event_size));
    if (!fed) break;
    if (*fed) {
      ledger_entry(**fed, "gcp", {});
      if ((*fed)->obstacle.empty() && (*fed)->format) undoable.push_back(std::move(**fed));
    }
    log.remove_prefix(event_size);
  }
  (void)undo_statements(undoable, 1u << 20);
  return 0;
}
