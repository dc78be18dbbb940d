#include "functions/internal/sandbox_plan.h"

#include <cstring>

namespace leeward::functions {
namespace {

constexpr std::uint64_t kMagic = 0x324e414c5044534c;  // "LSDPLAN2"

class Writer {
 public:
  void number(std::uint64_t n) { out_.append(reinterpret_cast<const char*>(&n), sizeof n); }
  void text(std::string_view s) {
    number(s.size());
    out_ += s;
  }
  template <typename List, typename Each>
  void list(const List& items, Each each) {
    number(items.size());
    for (const auto& item : items) each(item);
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  std::uint64_t number() {
    std::uint64_t n = 0;
    if (in_.size() < sizeof n) {
      broken_ = true;
      return 0;
    }
    std::memcpy(&n, in_.data(), sizeof n);
    in_.remove_prefix(sizeof n);
    return n;
  }
  template <typename Number>
  Number number_of() {
    const std::uint64_t n = number();
    if (n > static_cast<Number>(-1)) broken_ = true;
    return static_cast<Number>(n);
  }
  std::string text() {
    const std::uint64_t size = number();
    if (size > in_.size() || in_.substr(0, size).find('\0') != std::string_view::npos) {
      broken_ = true;
      return {};
    }
    std::string s(in_.substr(0, size));
    in_.remove_prefix(size);
    return s;
  }
  template <typename Item, typename Each>
  void list(std::vector<Item>& items, Each each) {
    const std::uint64_t count = number();
    // Each item takes at least one number, which bounds what a wrong count can allocate.
    if (count > in_.size() / sizeof(std::uint64_t)) broken_ = true;
    for (std::uint64_t i = 0; i < count && !broken_; ++i) items.push_back(each());
  }
  bool complete() const { return !broken_ && in_.empty(); }

 private:
  std::string_view in_;
  bool broken_ = false;
};

}  // namespace

std::string encode(const SandboxPlan& plan) {
  Writer w;
  auto text = [&](const std::string& s) { w.text(s); };
  w.number(kMagic);
  w.list(plan.argv, text);
  w.list(plan.companions, text);
  w.list(plan.environment, text);
  w.text(plan.directory);
  w.text(plan.hostname);
  w.text(plan.root);
  w.list(plan.binds, [&](const SandboxPlan::Bind& b) {
    w.text(b.source);
    w.text(b.target);
  });
  w.list(plan.links, [&](const SandboxPlan::Link& l) {
    w.text(l.path);
    w.text(l.to);
  });
  w.list(plan.files, [&](const SandboxPlan::File& f) {
    w.text(f.path);
    w.text(f.text);
  });
  w.list(plan.listeners, [&](const SandboxPlan::Listener& l) {
    w.text(l.address);
    w.number(l.port);
  });
  w.list(plan.cgroup_procs, text);
  for (std::uint64_t n : {plan.tmp_bytes, plan.processes_max, plan.open_files_max,
                          plan.data_bytes_max, std::uint64_t{plan.inside_id},
                          std::uint64_t{plan.outside_user}, std::uint64_t{plan.outside_group}})
    w.number(n);
  return w.take();
}

Result<SandboxPlan> decode_plan(std::string_view bytes) {
  Reader r(bytes);
  SandboxPlan plan;
  if (bytes.size() > kPlanBytesMax || r.number() != kMagic)
    return tl::unexpected(Error{Code::kCorrupt, "this is not the plan of a sandbox"});
  auto text = [&] { return r.text(); };
  r.list(plan.argv, text);
  r.list(plan.companions, text);
  r.list(plan.environment, text);
  plan.directory = r.text();
  plan.hostname = r.text();
  plan.root = r.text();
  r.list(plan.binds, [&] {
    SandboxPlan::Bind b;
    b.source = r.text();
    b.target = r.text();
    return b;
  });
  r.list(plan.links, [&] {
    SandboxPlan::Link l;
    l.path = r.text();
    l.to = r.text();
    return l;
  });
  r.list(plan.files, [&] {
    SandboxPlan::File f;
    f.path = r.text();
    f.text = r.text();
    return f;
  });
  r.list(plan.listeners, [&] {
    SandboxPlan::Listener l;
    l.address = r.text();
    l.port = r.number_of<std::uint16_t>();
    return l;
  });
  r.list(plan.cgroup_procs, text);
  plan.tmp_bytes = r.number();
  plan.processes_max = r.number();
  plan.open_files_max = r.number();
  plan.data_bytes_max = r.number();
  plan.inside_id = r.number_of<std::uint32_t>();
  plan.outside_user = r.number_of<std::uint32_t>();
  plan.outside_group = r.number_of<std::uint32_t>();
  if (!r.complete() || plan.argv.empty())
    return tl::unexpected(Error{Code::kCorrupt, "the plan of a sandbox is damaged"});
  if (plan.companions.size() > kSandboxCompanionsMax)
    return tl::unexpected(Error{Code::kCorrupt, "the plan of a sandbox has too many programs"});
  if (plan.listeners.size() > kSandboxListenersMax)
    return tl::unexpected(Error{Code::kCorrupt, "the plan of a sandbox has too many listeners"});
  return plan;
}

}  // namespace leeward::functions
