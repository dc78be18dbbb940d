#include "config/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "config/config.h"

namespace leeward::config {
namespace {

Position position(const YAML::Mark& mark) {
  return Position{std::max(mark.line, 0) + 1, std::max(mark.column, 0) + 1};
}

// Left through yaml-cpp's parser, caught in parse_yaml.
struct Stop {
  YamlError error;
};

class TreeBuilder final : public YAML::EventHandler {
 public:
  YamlPtr root() const { return root_; }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(leaf(YamlNode::Kind::kNull, mark), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    auto found = anchors_.find(anchor);
    // An anchor is known only after its node has ended, so a node cannot contain itself.
    if (found == anchors_.end())
      throw Stop{{position(mark), "this alias names an anchor that is not complete yet"}};
    place(found->second);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    auto node = leaf(YamlNode::Kind::kScalar, mark);
    node->quoted = tag == "!";  // yaml-cpp's way to tell a quoted scalar from a plain one ("?")
    if (!node->quoted) refuse_tag(mark, tag);
    node->text = value;
    add(std::move(node), anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kSequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::kMapping, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    std::shared_ptr<YamlNode> node;
    YAML::anchor_t anchor;
    YamlPtr key;  // mapping: the key whose value comes next
  };

  static std::shared_ptr<YamlNode> leaf(YamlNode::Kind kind, const YAML::Mark& mark) {
    auto node = std::make_shared<YamlNode>();
    node->kind = kind;
    node->at = position(mark);
    return node;
  }

  static void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?")
      throw Stop{{position(mark), fmt::format("the tag '{}' has no meaning here", tag)}};
  }

  void open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor) {
    refuse_tag(mark, tag);
    if (stack_.size() >= static_cast<std::size_t>(kNestingMax))
      throw Stop{{position(mark), fmt::format("nested more than {} levels deep", kNestingMax)}};
    stack_.push_back(Frame{leaf(kind, mark), anchor, nullptr});
  }

  void close() {
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    add(std::move(frame.node), frame.anchor);
  }

  void add(YamlPtr node, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) anchors_[anchor] = node;
    place(std::move(node));
  }

  void place(YamlPtr node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = stack_.back();
    YamlNode& parent = *frame.node;
    parent.weight += node->weight;
    parent.height = std::max(parent.height, node->height + 1);
    if (parent.weight > kNodesMax)
      throw Stop{{node->at, fmt::format("more than {} values, aliases expanded", kNodesMax)}};
    if (parent.height + static_cast<int>(stack_.size()) - 1 > kNestingMax + 1)
      throw Stop{{node->at, fmt::format("nested more than {} levels deep", kNestingMax)}};
    if (parent.kind == YamlNode::Kind::kSequence) {
      parent.items.push_back(std::move(node));
    } else if (!frame.key) {
      frame.key = std::move(node);
    } else {
      parent.entries.emplace_back(std::exchange(frame.key, nullptr), std::move(node));
    }
  }

  YamlPtr root_;
  std::vector<Frame> stack_;
  std::map<YAML::anchor_t, YamlPtr> anchors_;
};

class SecondDocument final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    throw Stop{
        {position(mark), "a second document ('---') in the file; one platform is one document"}};
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

}  // namespace

tl::expected<YamlPtr, YamlError> parse_yaml(std::string_view text) {
  if (text.size() > kTextBytesMax)
    return tl::unexpected(
        YamlError{{}, fmt::format("the file is larger than {} bytes", kTextBytesMax)});
  try {
    std::istringstream in{std::string(text)};
    YAML::Parser parser(in);
    TreeBuilder tree;
    if (parser.HandleNextDocument(tree)) {
      SecondDocument second;
      parser.HandleNextDocument(second);
    }
    if (tree.root()) return tree.root();
    return std::make_shared<const YamlNode>();
  } catch (const Stop& stop) {
    return tl::unexpected(stop.error);
  } catch (const YAML::Exception& e) {
    return tl::unexpected(YamlError{position(e.mark), "not valid YAML: " + e.msg});
  } catch (const std::exception& e) {
    return tl::unexpected(YamlError{{}, fmt::format("not valid YAML: {}", e.what())});
  }
}

}  // namespace leeward::config
