#include "waf/internal/regex.h"

#include <algorithm>

#include "base/check.h"

namespace leeward::waf {
namespace {

constexpr std::size_t kStackFirst = 32u << 10;
constexpr std::size_t kStackMax = 512u << 10;
constexpr std::uint32_t kHeapKibMax = 16u << 10;  // of the interpreter, when the stack is too small

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
  std::uint32_t options = PCRE2_DOTALL | PCRE2_MULTILINE;
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
  return std::shared_ptr<const Regex>(std::move(regex));
}

Regex::~Regex() { pcre2_code_free(code_); }

int Regex::search(std::string_view subject, RegexRoom& room, std::size_t from,
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
