#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/channel/address.hpp"
#include "runrig/channel/object.hpp"

/// Proxies of managers' objects, as they travel: Python's multiprocessing.managers.Token and RebuildProxy.
namespace runrig::pickle {

/// Which object of which manager.
struct Token {
  std::string type_id;
  Address address{"/"};
  std::string id;
  friend bool operator==(const Token&, const Token&) = default;
};

/// What refers to a manager's object for as long as it lives.
class ProxyKeeper {
 public:
  ProxyKeeper() = default;
  ProxyKeeper(const ProxyKeeper&) = delete;
  ProxyKeeper& operator=(const ProxyKeeper&) = delete;
  virtual ~ProxyKeeper() = default;
};

/// What a pickled proxy says.
struct ProxyState {
  /// Python's name of its class, of those in multiprocessing.managers: "ListProxy", "AutoProxy".
  std::string type;
  Token token;
  /// The methods of an AutoProxy.
  std::vector<std::string> exposed{};
  /// Keeps the object for this Object and its copies, if it is known to keep it. Does not travel.
  std::shared_ptr<const ProxyKeeper> keeper{};
};

/// The class of Python's proxies for the types of SyncManager ("list": "ListProxy"), AutoProxy for all others.
[[nodiscard]] std::string_view proxy_type_of(std::string_view type_id) noexcept;

/// Calls `visit` once for each proxy in `object`, however deep; what it returns is from then on the proxy's keeper.
/// For whoever alone has the object, as after loads().
void keep_proxies(const Object& object,
                  const std::function<std::shared_ptr<const ProxyKeeper>(const ProxyState& proxy)>& visit);

}  // namespace runrig::pickle
