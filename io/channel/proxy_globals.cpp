#include "proxy_globals.hpp"

#include <algorithm>
#include <unordered_set>

#include "globals.hpp"
#include "node.hpp"
#include "runrig/sync/error.hpp"

/// Tokens and proxies of managers: their constructors, and the way to those in an Object.
namespace runrig::pickle {
namespace {

struct TypeOfProxy {
  std::string_view type_id;
  std::string_view proxy;
};
constexpr std::array<TypeOfProxy, 14> types_of_proxies{{
    {"list", "ListProxy"},
    {"dict", "DictProxy"},
    {"set", "SetProxy"},  // Python 3.14
    {"Namespace", "NamespaceProxy"},
    {"Value", "ValueProxy"},
    {"Array", "ArrayProxy"},
    {"Lock", "AcquirerProxy"},
    {"RLock", "AcquirerProxy"},
    {"Semaphore", "AcquirerProxy"},
    {"BoundedSemaphore", "AcquirerProxy"},
    {"Condition", "ConditionProxy"},
    {"Event", "EventProxy"},
    {"Barrier", "BarrierProxy"},
    {"Pool", "PoolProxy"},
}};
constexpr std::array<std::string_view, 2> other_proxies{"AutoProxy", "IteratorProxy"};

}  // namespace

std::string_view proxy_type_of(std::string_view type_id) noexcept {
  if (type_id == "Iterator") return "IteratorProxy";
  for (const TypeOfProxy& each : types_of_proxies) {
    if (each.type_id == type_id) return each.proxy;
  }
  return "AutoProxy";
}

namespace detail {

std::string_view find_proxy_type(std::string_view name) noexcept {
  for (const TypeOfProxy& each : types_of_proxies) {
    if (each.proxy == name) return each.proxy;
  }
  const auto* const other = std::find(other_proxies.begin(), other_proxies.end(), name);
  return other == other_proxies.end() ? std::string_view() : *other;
}

namespace {

/// The text that a str is, or a copy of it, charged.
std::string text_of(Budget& budget, const Object& object, std::string_view what) {
  expect_argument(object.kind() == Kind::string, what);
  budget.charge(object.as_string().size());
  return object.as_string();
}

}  // namespace

Object Constructor::new_token(std::span<const Object> arguments) {
  expect_argument(arguments.empty(), "Token");
  budget_.charge_node<TokenNode>();
  return Access::make<TokenNode>(Kind::manager_token, Token{}, false);
}

void Constructor::set_token_state(const Object& token, const Object& state) {
  expect_argument(state.kind() == Kind::tuple && state.size() == 3, "Token");
  auto& node = Access::as<TokenNode>(token);
  if (node.complete) throw Refused("state for a Token that has some");
  node.value.type_id = text_of(budget_, state.items()[0], "Token");
  node.value.id = text_of(budget_, state.items()[2], "Token");
  node.value.address = address(state.items()[1], "Token");
  node.complete = true;
}

Address Constructor::address(const Object& object, std::string_view what) {
  try {
    Address made = Address::from_object(object);
    budget_.charge(made.path().size() + made.host().size());
    return made.family() == Address::Family::unix_socket ? Address(unescape_text(made.path())) : made;
  } catch (const Error&) {
    throw Refused("arguments that Python does not write for " + std::string(what));
  }
}

Object Constructor::proxy(std::span<const Object> arguments) {
  constexpr std::string_view what = "RebuildProxy";
  expect_argument(arguments.size() == 4 && arguments[0].kind() == kind_global &&
                      Access::as<GlobalNode>(arguments[0]).global.id == Global::Id::proxy_type &&
                      arguments[1].kind() == Kind::manager_token && Access::as<TokenNode>(arguments[1]).complete &&
                      is_str(arguments[2], "pickle") && arguments[3].kind() == Kind::dict,
                  what);
  ProxyState state;
  state.type = Access::as<GlobalNode>(arguments[0]).global.name;
  const Token& token = arguments[1].as_token();
  budget_.charge(token.type_id.size() + token.id.size() + token.address.path().size() + token.address.host().size());
  state.token = token;
  for (const auto& [name, value] : arguments[3].entries()) {
    // A key goes to the processes that its owner starts, and to nobody by a proxy: ours is taken for the address.
    if (is_str(name, "authkey")) continue;
    expect_argument(is_str(name, "exposed") && (value.kind() == Kind::tuple || value.kind() == Kind::list), what);
    budget_.charge(value.size() * sizeof(std::string));
    for (const Object& each : value.items()) state.exposed.push_back(text_of(budget_, each, what));
  }
  budget_.charge_node<ProxyNode>();
  return Access::make<ProxyNode>(std::move(state));
}

}  // namespace detail

using detail::Access;

void keep_proxies(const Object& object,
                  const std::function<std::shared_ptr<const ProxyKeeper>(const ProxyState& proxy)>& visit) {
  std::unordered_set<const detail::Node*> seen;
  std::vector<const Object*> left{&object};
  while (!left.empty()) {
    const Object& each = *left.back();
    left.pop_back();
    if (each.is_back_reference()) continue;  // to what was met on the way here
    const auto node = Access::node(each);
    if (node == nullptr || (node->kind <= Kind::bytearray)) continue;
    if (!seen.insert(node.get()).second) continue;
    switch (node->kind) {
      case Kind::list:
      case Kind::tuple:
      case Kind::set:
      case Kind::frozenset:
        for (const Object& item : each.items()) left.push_back(&item);
        break;
      case Kind::dict:
      case Kind::ordered_dict:
        for (const auto& [key, value] : each.entries()) {
          left.push_back(&key);
          left.push_back(&value);
        }
        break;
      case Kind::exception:
        for (const Object& item : each.items()) left.push_back(&item);
        left.push_back(&each.exception_attributes());
        break;
      case Kind::proxy: {
        auto& proxy = static_cast<detail::ProxyNode&>(*node);
        proxy.value.keeper = visit(proxy.value);
        break;
      }
      default:
        break;
    }
  }
}

}  // namespace runrig::pickle
