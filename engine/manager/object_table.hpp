#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/engine/managed.hpp"

namespace runrig::detail {

/// What a server keeps, under idents, and who refers to it. Thread-safe.
class ObjectTable {
 public:
  struct Entry {
    std::shared_ptr<Referent> referent;
    std::string type_id;
    std::vector<std::string> exposed;
    std::map<std::uint64_t, std::int64_t> references;  // by process; 0: of those that are not known
  };

  /// Refers to `referent` for `process`, under the ident that it has already, or a new one.
  [[nodiscard]] std::string add(std::shared_ptr<Referent> referent, std::string_view type_id,
                                const std::vector<std::string>& exposed, std::uint64_t process);
  /// Throw ManagedError KeyError for an ident that is not there (any more). A process gives back its own references
  /// only.
  void incref(const std::string& ident, std::uint64_t process);
  void decref(const std::string& ident, std::uint64_t process);
  [[nodiscard]] Entry find(const std::string& ident) const;

  void forget_process(std::uint64_t process);
  void forget_connection(std::uint64_t connection);
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::string description() const;

 private:
  [[nodiscard]] std::vector<std::shared_ptr<Referent>> all() const;
  mutable std::mutex mutex_;
  std::map<std::string, Entry> entries_;
  std::map<const Referent*, std::string> idents_;
  std::uint64_t last_ident_ = 0x1000;
};

}  // namespace runrig::detail
