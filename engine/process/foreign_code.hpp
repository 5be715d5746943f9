#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "modules.hpp"
#include "runrig/channel/object.hpp"
#include "runrig/engine/code.hpp"

/// Code named by its address in another process of the same program.
///
/// A process that sends calls all the time need not send the whole name of each: it tells once which modules it has and
/// where, and then sends addresses. The other process makes the name out of that, module and place in it, and finds
/// what it names in its own table: nothing else is ever called.
namespace runrig::detail {

/// The modules of a process at one time.
class ModuleSnapshot {
 public:
  struct Entry {
    std::uintptr_t base = 0;
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    ModuleId id{};
  };
  [[nodiscard]] static ModuleSnapshot of_this_process();
  [[nodiscard]] pickle::Object to_object() const;
  /// Throws FormatError.
  [[nodiscard]] static ModuleSnapshot from_object(const pickle::Object& object);

  /// The name of what lies at `address` in that process; none if that is in no module.
  [[nodiscard]] CodeRef name(std::uintptr_t address) const noexcept;
  /// Whether what now is at `address` in this process was there at the time of the snapshot.
  [[nodiscard]] bool still_has(std::uintptr_t address, const CodeRef& now) const noexcept {
    return name(address) == now;
  }

 private:
  std::vector<Entry> entries_;  // sorted
};

/// In the other process. Remembers what it has found. One thread at a time.
class ForeignCode {
 public:
  explicit ForeignCode(ModuleSnapshot sender) : sender_(std::move(sender)) {}
  /// The entry of this process for the one at `address` there. Throws FormatError: see find_code().
  [[nodiscard]] const CodeEntry& entry(std::uintptr_t address, CodeKind kind);
  /// The function of this process for the one at `address` there; 0 for 0. Throws FormatError: see resolve_function().
  [[nodiscard]] std::uintptr_t function(std::uintptr_t address);

 private:
  ModuleSnapshot sender_;
  std::unordered_map<std::uintptr_t, const CodeEntry*> entries_;
  std::unordered_map<std::uintptr_t, std::uintptr_t> functions_;
};

}  // namespace runrig::detail
