#include <algorithm>
#include <charconv>

#include "waf/internal/rule_reader.h"

namespace leeward::waf {
namespace {

std::string in_lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return lower;
}

constexpr std::string_view kRefused[] = {"append",
                                         "deprecatevar",
                                         "exec",
                                         "pause",
                                         "prepend",
                                         "proxy",
                                         "sanitiseArg",
                                         "sanitiseMatched",
                                         "sanitiseMatchedBytes",
                                         "sanitizeArg",
                                         "sanitiseRequestHeader",
                                         "sanitiseResponseHeader",
                                         "setenv",
                                         "setrsc"};

std::optional<Variable> store_named(std::string_view name) {
  const auto variable = variable_named(name);
  if (variable && (*variable == Variable::kTx || is_persistent(*variable))) return variable;
  return std::nullopt;
}

}  // namespace

// One list of actions, "id:1,phase:2,msg:'what, and why',t:none".
class ActionReader {
 public:
  ActionReader(RuleReader& reader, const Word& word)
      : reader_(reader), word_(word), text_(word.text) {}

  ActionSet all() {
    while (next()) one();
    return std::move(set_);
  }

 private:
  // The next action into name_ and value_; false at the end.
  bool next() {
    while (at_ < text_.size() && (blank(text_[at_]) || text_[at_] == ',')) ++at_;
    if (at_ >= text_.size()) return false;
    name_at_ = at_;
    while (at_ < text_.size() && text_[at_] != ':' && text_[at_] != ',' && !blank(text_[at_]))
      ++at_;
    name_ = text_.substr(name_at_, at_ - name_at_);
    value_.clear();
    value_at_ = at_;
    has_value_ = false;
    while (at_ < text_.size() && blank(text_[at_])) ++at_;
    if (at_ >= text_.size() || text_[at_] != ':') return true;
    has_value_ = true;
    ++at_;
    while (at_ < text_.size() && blank(text_[at_])) ++at_;
    value_at_ = at_;
    if (at_ < text_.size() && text_[at_] == '\'') {
      quoted();
    } else {
      const std::size_t end = std::min(text_.find(',', at_), text_.size());
      value_ = trimmed(text_.substr(at_, end - at_));
      at_ = end;
    }
    return true;
  }

  void quoted() {
    const std::size_t opened = at_++;
    value_at_ = at_;
    for (; at_ < text_.size() && text_[at_] != '\''; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] == '\'') ++at_;
      value_ += text_[at_];
    }
    if (at_ >= text_.size()) return problem(opened, "this quote is not closed");
    ++at_;
    const std::size_t end = std::min(text_.find(',', at_), text_.size());
    if (!trimmed(text_.substr(at_, end - at_)).empty())
      problem(at_, "a comma is missing behind the closing quote");
    at_ = end;
  }

  static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
  void problem(std::size_t at, std::string_view what) {
    reader_.problem(word_, std::min(at, text_.size()), what);
  }
  void value_problem(std::string_view what) { problem(value_at_, what); }
  Macro macro(std::string_view text) { return reader_.read_macro(word_, value_at_, text); }
  Macro name_macro(std::string_view text) { return macro(in_lower_case(text)); }

  std::uint32_t number(std::uint32_t least, std::uint32_t most) {
    std::uint32_t value = 0;
    const char* end = value_.data() + value_.size();
    const auto [stop, error] = std::from_chars(value_.data(), end, value);
    if (error == std::errc() && stop == end && value >= least && value <= most) return value;
    value_problem(
        fmt::format("'{}' takes a number from {} to {}, not '{}'", name_, least, most, value_));
    return least;
  }

  void one() {
    const auto action = action_named(name_);
    if (!action) {
      const bool known = std::any_of(std::begin(kRefused), std::end(kRefused), [&](auto refused) {
        return same_ignoring_case(refused, name_);
      });
      return problem(name_at_, known ? fmt::format("the action '{}' is not supported here", name_)
                                     : fmt::format("there is no action '{}'", name_));
    }
    if (has_value_ && value_.empty() && *action != Action::kMsg && *action != Action::kLogdata)
      return value_problem(fmt::format("'{}:' has no value", name_));
    if (!has_value_ && takes_value(*action))
      return problem(name_at_, fmt::format("'{}' needs a value, written {}:…", name_, name_));
    run(*action);
  }

  static bool takes_value(Action action) {
    switch (action) {
      case Action::kAllow:
      case Action::kAuditlog:
      case Action::kBlock:
      case Action::kCapture:
      case Action::kChain:
      case Action::kDeny:
      case Action::kDrop:
      case Action::kLog:
      case Action::kMultiMatch:
      case Action::kNoauditlog:
      case Action::kNolog:
      case Action::kPass:
        return false;
      default:
        return true;
    }
  }

  void run(Action action) {
    switch (action) {
      case Action::kId:
        set_.id = number(1, 0xfffffffe);
        break;
      case Action::kPhase:
        phase();
        break;
      case Action::kAllow:
        allow();
        break;
      case Action::kPass:
        set_.disruption = Disruption::kPass;
        break;
      case Action::kDeny:
        set_.disruption = Disruption::kDeny;
        break;
      case Action::kDrop:
        set_.disruption = Disruption::kDrop;
        break;
      case Action::kRedirect:
        set_.disruption = Disruption::kRedirect;
        set_.redirect = macro(value_);
        break;
      case Action::kBlock:
        set_.block = true;
        break;
      case Action::kCapture:
        set_.capture = true;
        break;
      case Action::kChain:
        set_.chain = true;
        break;
      case Action::kMultiMatch:
        set_.multi_match = true;
        break;
      case Action::kLog:
      case Action::kNolog:
      case Action::kAuditlog:
      case Action::kNoauditlog:
        set_.telling.push_back(action);
        break;
      case Action::kMsg:
        set_.msg = macro(value_);
        break;
      case Action::kLogdata:
        set_.logdata = macro(value_);
        break;
      case Action::kTag:
        set_.tags.push_back(macro(value_));
        break;
      case Action::kRev:
        set_.rev = value_;
        break;
      case Action::kVer:
        set_.ver = value_;
        break;
      case Action::kSeverity:
        severity();
        break;
      case Action::kStatus:
        set_.status = static_cast<int>(number(100, 599));
        break;
      case Action::kSkip:
        set_.skip = number(1, 1'000'000);
        break;
      case Action::kSkipAfter:
        set_.skip_after = value_;
        break;
      case Action::kTransform:
        transform();
        break;
      case Action::kSetvar:
        setvar();
        break;
      case Action::kExpirevar:
        expirevar();
        break;
      case Action::kInitcol:
        initcol();
        break;
      case Action::kSetsid:
        set_.initcols.push_back({.collection = Variable::kSession, .key = macro(value_)});
        break;
      case Action::kSetuid:
        set_.initcols.push_back({.collection = Variable::kUser, .key = macro(value_)});
        break;
      case Action::kCtl:
        control();
        break;
      case Action::kAccuracy:
      case Action::kMaturity:
        number(0, 9);
        break;
      default:
        if (action != Action::kXmlns)  // /* and //@* name no namespace
          problem(name_at_, fmt::format("the action '{}' is not supported here", name_));
        break;
    }
    set_.places.emplace_back(in_lower_case(name_), word_.at(name_at_));
  }

  void phase() {
    if (same_ignoring_case(value_, "request"))
      set_.phase = 2;
    else if (same_ignoring_case(value_, "response"))
      set_.phase = 4;
    else if (same_ignoring_case(value_, "logging"))
      set_.phase = 5;
    else
      set_.phase = static_cast<std::uint8_t>(number(1, 5));
  }

  void allow() {
    if (!has_value_)
      set_.disruption = Disruption::kAllow;
    else if (same_ignoring_case(value_, "phase"))
      set_.disruption = Disruption::kAllowPhase;
    else if (same_ignoring_case(value_, "request"))
      set_.disruption = Disruption::kAllowRequest;
    else
      value_problem("allow goes for 'phase' or for 'request'");
  }

  void severity() {
    constexpr std::string_view kNames[] = {"emergency", "alert",  "critical", "error",
                                           "warning",   "notice", "info",     "debug"};
    for (std::size_t i = 0; i < std::size(kNames); ++i)
      if (same_ignoring_case(kNames[i], value_)) {
        set_.severity = static_cast<std::uint8_t>(i);
        return;
      }
    set_.severity = static_cast<std::uint8_t>(number(0, 7));
  }

  void transform() {
    const auto transform = transform_named(value_);
    if (!transform) return value_problem(fmt::format("there is no transformation 't:{}'", value_));
    if (*transform == Transform::kNone) {
      set_.transforms.clear();
      set_.drops_defaults = true;
    } else {
      set_.transforms.push_back(*transform);
    }
  }

  // "tx.name" into its two; nullopt with a problem.
  struct Named {
    Variable collection;
    std::string_view name;
  };
  std::optional<Named> stored(std::string_view text) {
    const std::size_t dot = text.find_first_of(".:");
    const auto collection = store_named(text.substr(0, dot));
    if (!collection || dot == std::string_view::npos || dot + 1 == text.size()) {
      value_problem(fmt::format(
          "'{}' is not of the form tx.name; there are tx, ip, global, resource, session and user",
          text));
      return std::nullopt;
    }
    return Named{*collection, text.substr(dot + 1)};
  }

  // The first '=' that is not within a macro.
  static std::size_t equals(std::string_view text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '=') return i;
      if (text.substr(i).starts_with("%{")) i = std::min(text.find('}', i), text.size() - 1);
    }
    return std::string_view::npos;
  }

  void setvar() {
    std::string_view text = value_;
    SetVar setvar;
    if (text.starts_with('!')) {
      setvar.how = SetVar::How::kUnset;
      text.remove_prefix(1);
    }
    const std::size_t sign = equals(text);
    const auto named = stored(text.substr(0, sign));
    if (!named) return;
    setvar.collection = named->collection;
    setvar.name = name_macro(trimmed(named->name));
    std::string_view value = sign == std::string_view::npos ? "1" : text.substr(sign + 1);
    if (sign != std::string_view::npos && value.size() > 1 &&
        (value[0] == '+' || value[0] == '-')) {
      if (setvar.how != SetVar::How::kUnset)
        setvar.how = value[0] == '+' ? SetVar::How::kAdd : SetVar::How::kSubtract;
      value.remove_prefix(1);
    }
    setvar.value = macro(value);
    set_.setvars.push_back(std::move(setvar));
  }

  void expirevar() {
    const std::size_t sign = equals(value_);
    if (sign == std::string::npos) return value_problem("expirevar is written ip.name=seconds");
    const auto named = stored(std::string_view(value_).substr(0, sign));
    if (!named) return;
    set_.expirevars.push_back({.collection = named->collection,
                               .name = name_macro(named->name),
                               .seconds = macro(std::string_view(value_).substr(sign + 1))});
  }

  void initcol() {
    const std::size_t sign = equals(value_);
    const auto collection = store_named(std::string_view(value_).substr(0, sign));
    if (sign == std::string::npos || !collection || *collection == Variable::kTx)
      return value_problem("initcol is written ip=key, with ip, global, resource, session or user");
    set_.initcols.push_back(
        {.collection = *collection, .key = macro(std::string_view(value_).substr(sign + 1))});
  }

  bool is_on(std::string_view value) {
    if (same_ignoring_case(value, "On")) return true;
    if (!same_ignoring_case(value, "Off"))
      value_problem(fmt::format("'{}' is neither On nor Off", value));
    return false;
  }

  void control();
  void control_target(Control& control, std::string_view value);
  bool control_engine(Control& control, std::string_view value);

  RuleReader& reader_;
  const Word& word_;
  std::string_view text_;
  std::size_t at_ = 0, name_at_ = 0, value_at_ = 0;
  std::string_view name_;
  std::string value_;
  bool has_value_ = false;
  ActionSet set_;
};

bool ActionReader::control_engine(Control& control, std::string_view value) {
  if (same_ignoring_case(value, "On"))
    control.engine = Control::Engine::kOn;
  else if (same_ignoring_case(value, "Off"))
    control.engine = Control::Engine::kOff;
  else if (same_ignoring_case(value, "DetectionOnly"))
    control.engine = Control::Engine::kDetectionOnly;
  else
    return false;
  return true;
}

// "id;ARGS:name", "tag;ARGS:name", "message;ARGS:name".
void ActionReader::control_target(Control& control, std::string_view value) {
  const std::size_t semicolon = value.rfind(';');
  if (semicolon == std::string_view::npos)
    return value_problem("which rules and which variable, written id;ARGS:name");
  const std::string_view which = trimmed(value.substr(0, semicolon));
  if (control.what == Control::What::kRemoveTargetById)
    control.ids = reader_.read_ids(word_, value_at_, which);
  else
    control.text = macro(which);
  const std::string_view variable = trimmed(value.substr(semicolon + 1));
  // The value was copied out of its quotes, so its place in the word is found again.
  const std::size_t at = text_.find(variable, value_at_);
  if (at == std::string_view::npos) return value_problem("quotes cannot be part of a variable");
  if (auto selection = reader_.read_selection(word_, at, at + variable.size())) {
    control.selection = std::move(*selection);
    set_.controls.push_back(std::move(control));
  }
}

void ActionReader::control() {
  using What = Control::What;
  struct Known {
    std::string_view name;
    What what;
  };
  static constexpr Known kKnown[] = {
      {"ruleEngine", What::kRuleEngine},
      {"ruleRemoveById", What::kRemoveById},
      {"ruleRemoveByTag", What::kRemoveByTag},
      {"ruleRemoveByMsg", What::kRemoveByMsg},
      {"ruleRemoveTargetById", What::kRemoveTargetById},
      {"ruleRemoveTargetByTag", What::kRemoveTargetByTag},
      {"ruleRemoveTargetByMsg", What::kRemoveTargetByMsg},
      {"requestBodyProcessor", What::kBodyProcessor},
      {"requestBodyAccess", What::kBodyAccess},
      {"forceRequestBodyVariable", What::kForceBodyVariable},
      {"auditEngine", What::kAuditEngine},
      {"auditLogParts", What::kAuditParts},
      {"responseBodyAccess", What::kResponseBodyAccess},
      {"debugLogLevel", What::kNoEffect},
  };
  const std::size_t sign = value_.find('=');
  const std::string_view name = trimmed(std::string_view(value_).substr(0, sign));
  const auto* known = std::find_if(std::begin(kKnown), std::end(kKnown), [&](const Known& k) {
    return same_ignoring_case(k.name, name);
  });
  if (known == std::end(kKnown))
    return value_problem(fmt::format("there is nothing called '{}' for ctl to change", name));
  if (sign == std::string::npos || sign + 1 == value_.size())
    return value_problem(fmt::format("ctl:{} needs a value, written {}=…", name, name));
  const std::string_view value = trimmed(std::string_view(value_).substr(sign + 1));
  Control control{.what = known->what};
  control.word = value;
  bool good = true;
  switch (control.what) {
    case What::kRuleEngine:
      good = control_engine(control, value);
      break;
    case What::kRemoveById:
      control.ids = reader_.read_ids(word_, value_at_, value);
      break;
    case What::kRemoveByTag:
    case What::kRemoveByMsg:
      control.text = macro(value);
      break;
    case What::kRemoveTargetById:
    case What::kRemoveTargetByTag:
    case What::kRemoveTargetByMsg:
      return control_target(control, value);
    case What::kBodyProcessor:
      for (std::string_view processor : {"JSON", "XML", "URLENCODED", "MULTIPART"})
        if (same_ignoring_case(processor, value)) control.word = processor;
      good = control.word == "JSON" || control.word == "XML" || control.word == "URLENCODED" ||
             control.word == "MULTIPART";
      break;
    case What::kBodyAccess:
    case What::kForceBodyVariable:
    case What::kResponseBodyAccess:
      control.engine = is_on(value) ? Control::Engine::kOn : Control::Engine::kOff;
      break;
    case What::kAuditEngine:
      good = same_ignoring_case(value, "On") || same_ignoring_case(value, "Off") ||
             same_ignoring_case(value, "RelevantOnly");
      break;
    case What::kAuditParts:
    case What::kNoEffect:
      break;
  }
  if (!good) return value_problem(fmt::format("'{}' is no value of ctl:{}", value, name));
  set_.controls.push_back(std::move(control));
}

ActionSet RuleReader::read_actions(const Word& word) { return ActionReader(*this, word).all(); }

}  // namespace leeward::waf
