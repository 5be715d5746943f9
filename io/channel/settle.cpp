#include "node.hpp"
#include "reader.hpp"

namespace runrig::pickle::detail {
namespace {

std::size_t child_count(const Node& node) noexcept {
  switch (node.kind) {
    case Kind::list:
    case Kind::tuple:
    case Kind::exception:
      return static_cast<const SequenceNode&>(node).items.size();
    case Kind::dict:
    case Kind::ordered_dict:
      return static_cast<const DictNode&>(node).entries.size() * 2;
    case Kind::set:
    case Kind::frozenset:
      return static_cast<const SetNode&>(node).members.size();
    default:
      return 0;
  }
}

Object& child(Node& node, std::size_t index) noexcept {
  switch (node.kind) {
    case Kind::list:
    case Kind::tuple:
    case Kind::exception:
      return static_cast<SequenceNode&>(node).items[index];
    case Kind::set:
    case Kind::frozenset:
      return static_cast<SetNode&>(node).members[index];
    default:
      break;
  }
  auto& [key, value] = static_cast<DictNode&>(node).entries[index / 2];
  return index % 2 == 0 ? key : value;
}

bool is_container(const Node& node) noexcept {
  return (node.kind >= Kind::list && node.kind <= Kind::frozenset) || node.kind == Kind::exception;
}
static_assert(Kind::list < Kind::frozenset && Kind::dict < Kind::frozenset && Kind::array > Kind::frozenset);

bool lacks_state(const Node& node) noexcept {
  if (node.kind == Kind::manager_token) return !static_cast<const TokenNode&>(node).complete;
  return node.kind == Kind::shared_handle && !static_cast<const SharedHandleNode&>(node).complete;
}

void check_value(const Node& node) {
  if (lacks_state(node)) throw Refused("a " + std::string(kind_name(node.kind)) + " without state");
  if (node.kind != kind_global) return;
  const Global& global = static_cast<const GlobalNode&>(node).global;
  throw Refused("'" + std::string(global.module) + " " + std::string(global.name) + "' is not a value");
}

struct Step {
  Node* node;
  std::size_t next;
};

}  // namespace

void settle(const Object& root, std::size_t max_depth) {
  Node* const first = Access::raw_node(root);
  if (first == nullptr) return;
  check_value(*first);
  if (!is_container(*first) || first->visit != Node::Visit::unseen) return;
  const auto too_deep = [max_depth](std::size_t depth) {
    if (depth > max_depth) throw Refused("containers nested deeper than " + std::to_string(max_depth));
  };
  too_deep(1);
  first->visit = Node::Visit::open;
  std::vector<Step> path{{first, 0}};
  while (!path.empty()) {
    Node& node = *path.back().node;
    if (path.back().next == child_count(node)) {
      node.visit = Node::Visit::done;
      ++node.height;
      path.pop_back();
      if (!path.empty()) path.back().node->height = std::max(path.back().node->height, node.height);
      continue;
    }
    Object& object = child(node, path.back().next++);
    Node* const inner = Access::raw_node(object);
    if (inner == nullptr) continue;
    check_value(*inner);
    if (!is_container(*inner)) continue;
    switch (inner->visit) {
      case Node::Visit::open:
        object = Object::back_reference(object);
        break;
      case Node::Visit::done:
        too_deep(path.size() + inner->height);
        node.height = std::max(node.height, inner->height);
        break;
      case Node::Visit::unseen:
        too_deep(path.size() + 1);
        inner->visit = Node::Visit::open;
        path.push_back({inner, 0});
        break;
    }
  }
}

}  // namespace runrig::pickle::detail
