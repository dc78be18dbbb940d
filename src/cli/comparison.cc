#include "cli/internal/comparison.h"

#include <csignal>

#include "cli/internal/render.h"
#include "replication/verify_json.h"

namespace leeward::cli {
namespace {

volatile std::sig_atomic_t interrupted = 0;

}  // namespace

void show_progress(Io& io, const Json& p) {
  if (!io.interactive) return;
  double total = number_of(p, "rows_total"), left = number_of(p, "seconds_left", -1);
  io.err << "\r\033[K" << text_of(p, "phase") << ": " << fmt::format("{:.0f}", number_of(p, "rows"))
         << (total > 0 ? fmt::format(" of ~{:.0f}", total) : "") << " rows, "
         << fmt::format("{:.0f} rows/s", number_of(p, "rows_a_second"))
         << (left >= 0 ? ", " + format_seconds(left) + " left" : "") << std::flush;
}

void end_progress(Io& io) {
  if (io.interactive) io.err << "\r\033[K" << std::flush;
}

Result<Json> compare_here(Io& io, const Comparison& comparison) {
  interrupted = 0;
  auto before = std::signal(SIGINT, [](int) { interrupted = 1; });
  auto report = comparison([&](const replication::Progress& p) {
    Json json{{"phase", p.phase},
              {"rows", p.rows},
              {"rows_total", p.rows_total},
              {"rows_a_second", p.rows_a_second}};
    if (p.eta != kNever) json["seconds_left"] = seconds(p.eta);
    show_progress(io, json);
    return interrupted == 0;
  });
  std::signal(SIGINT, before);
  end_progress(io);
  if (!report) return fail(std::move(report.error()));
  return Json::parse(replication::to_json(*report));
}

int print_report(const Globals& globals, const Json& report, Io& io) {
  io.out << (globals.json ? to_text(report) : render_verify(report));
  bool mended = number_of(report, "repaired") >= number_of(report, "different");
  return mended ? 0 : exit_status(Code::kUnhealthy);
}

}  // namespace leeward::cli
