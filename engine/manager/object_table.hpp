#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runrig/channel/proxy_state.hpp"
#include "runrig/engine/managed.hpp"

namespace runrig::detail {

/// What a server keeps, under idents, and who refers to it. Thread-safe.
class ObjectTable : public std::enable_shared_from_this<ObjectTable> {
 public:
  struct Entry {
    std::shared_ptr<Referent> referent;
    std::string type_id;
    std::vector<std::string> exposed;
    std::map<std::uint64_t, std::int64_t> references;  // by process; 0: of those that are not known
  };
  /// Whose the references are that served objects hold, by proxies in them.
  static constexpr std::uint64_t held_by_objects = UINT64_MAX;

  ObjectTable();
  /// Refers to `referent` for `process`, under the ident that its identity has already, or a new one.
  [[nodiscard]] std::string add(std::shared_ptr<Referent> referent, std::string_view type_id,
                                const std::vector<std::string>& exposed, std::uint64_t process);
  /// Throw ManagedError KeyError for an ident that is not there (any more). A process gives back its own references
  /// only.
  void incref(const std::string& ident, std::uint64_t process);
  void decref(const std::string& ident, std::uint64_t process);
  [[nodiscard]] Entry find(const std::string& ident) const;
  /// A reference for what lives in the server, given back when it goes; null for an ident that is not there.
  [[nodiscard]] std::shared_ptr<const pickle::ProxyKeeper> hold(const std::string& ident);

  void forget_process(std::uint64_t process);
  void forget_connection(std::uint64_t connection);
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::string description() const;

 private:
  using Identity = std::pair<const void*, std::string>;  // and the type
  [[nodiscard]] std::vector<std::shared_ptr<Referent>> all() const;
  /// With the mutex held. What it returns is to be destroyed after that.
  [[nodiscard]] std::shared_ptr<Referent> take_out(std::map<std::string, Entry>::iterator entry);
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  std::map<Identity, std::string> idents_;
  std::uint64_t last_ident_;
};

/// The object that a proxy in a request refers to, if it is one of this server's; else null.
[[nodiscard]] std::shared_ptr<Referent> served_object(const pickle::Object& proxy);

}  // namespace runrig::detail
