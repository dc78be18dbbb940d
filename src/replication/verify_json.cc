#include "replication/verify_json.h"

#include <nlohmann/json.hpp>

namespace leeward::replication {
namespace {

using Json = nlohmann::ordered_json;

std::string text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string to_json(const VerifyReport& report) {
  Json differences = Json::array();
  for (const RowDifference& each : report.differences)
    differences.push_back({{"table", each.schema + "." + each.table},
                           {"kind", name(each.kind)},
                           {"key", each.key},
                           {"columns", each.columns}});
  return text({{"at", to_string(report.at)},
               {"tables", report.tables},
               {"rows", report.rows},
               {"different", report.different},
               {"repaired", report.repaired},
               {"differences", std::move(differences)}});
}

std::string to_json(const std::vector<Finding>& findings) {
  Json all = Json::array();
  for (const Finding& each : findings)
    all.push_back({{"severity", name(each.severity)},
                   {"code", each.code},
                   {"where", each.where},
                   {"what", each.what},
                   {"cure", each.cure}});
  return text(all);
}

}  // namespace leeward::replication
