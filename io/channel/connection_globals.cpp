#include "connection_globals.hpp"

#include "globals.hpp"
#include "node.hpp"

/// Shared handles and the connections that are made of them: their constructors.
namespace runrig::pickle::detail {

bool is_possible(const SharedHandle& handle) noexcept {
  return handle.key > 0 && handle.sharer.family() != Address::Family::inet;
}

Object Constructor::new_shared_handle(std::span<const Object> arguments) {
  expect_argument(arguments.empty(), "DupFd");
  budget_.charge_node<SharedHandleNode>();
  return Access::make<SharedHandleNode>(Kind::shared_handle, SharedHandle{}, false);
}

void Constructor::set_shared_handle_state(const Object& handle, const Object& state) {
  constexpr std::string_view what = "DupFd";
  auto& node = Access::as<SharedHandleNode>(handle);
  if (node.complete) throw Refused("state for a DupFd that has some");
  expect_argument(state.kind() == Kind::dict && state.size() == 1 && is_str(state.entries()[0].first, "_id"), what);
  const Object& id = state.entries()[0].second;
  expect_argument(id.kind() == Kind::tuple && id.size() == 2 && id.items()[1].kind() == Kind::integer, what);
  node.value.sharer = address(id.items()[0], what);
  node.value.key = id.items()[1].as_big_int().to_int64().value_or(0);
  expect_argument(is_possible(node.value), what);
  node.complete = true;
}

Object Constructor::connection(std::span<const Object> arguments) {
  expect_argument(arguments.size() == 3 && arguments[0].kind() == Kind::shared_handle &&
                      Access::as<SharedHandleNode>(arguments[0]).complete && arguments[1].kind() == Kind::boolean &&
                      arguments[2].kind() == Kind::boolean && (arguments[1].as_bool() || arguments[2].as_bool()),
                  "a connection");
  const SharedHandle& handle = arguments[0].as_shared_handle();
  budget_.charge_node<ConnectionNode>();
  budget_.charge(handle.sharer.path().size());
  return Access::make<ConnectionNode>(Kind::connection,
                                      SharedConnection{handle, arguments[1].as_bool(), arguments[2].as_bool()});
}

}  // namespace runrig::pickle::detail
