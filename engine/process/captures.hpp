#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "modules.hpp"

namespace runrig::detail {

/// A line of /proc/self/maps.
struct MappedRange {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  bool writable = false;
  bool executable = false;
  bool shared = false;
  std::string what;  ///< device, inode and offset, which tell one mapped file from another; and the path
  std::string path;
  friend bool operator==(const MappedRange&, const MappedRange&) = default;
};
/// Sorted by address.
[[nodiscard]] std::vector<MappedRange> read_own_mappings();

/// Whether any word of these bytes looks like a pointer. Numbers below 2^44 never count as pointers.
[[nodiscard]] bool may_hold_pointers(std::span<const std::byte> closure) noexcept;

/// Knows which addresses mean the same in other processes as here, and refuses captures with any other.
///
/// In processes that are forked, that is what was shared, or constant, at the snapshot. In processes that execute the
/// program anew it is nothing: their modules lie elsewhere. To both, the caller can add memory that it knows to be
/// shared at one address.
class CaptureCheck {
 public:
  /// Whether memory at `address` is shared, at one address, by the processes concerned.
  using Shared = std::function<bool(const void* address)>;

  /// The parts of the sentence that refuses: whose captures, and what to do instead.
  struct Words {
    std::string_view subject;  ///< "launch: the kernel's"
    std::string_view advice;   ///< "capture numbers by value, and ..."
  };

  /// For processes that are forked. Call it just before the fork.
  void take_snapshot();
  /// For processes that execute the program anew.
  void expect_foreign_layout() noexcept;

  /// Throws std::logic_error, in words, if a word of the captures points to memory that the others do not have. Cheap
  /// for captures without pointers.
  void check_captures(const Words& words, std::span<const std::byte> closure, const Shared& shared = {}) const;
  /// Throws std::logic_error if a forked process does not have this code, because it was loaded after the snapshot.
  void check_code(std::uintptr_t code) const;
  [[noreturn]] static void refuse_code();

 private:
  [[nodiscard]] const MappedRange* find_known(std::uintptr_t address) const;
  void check_word(const Words& words, std::uintptr_t word, std::size_t offset) const;

  bool foreign_ = false;
  std::vector<MappedRange> known_;  // what was shared or constant at the snapshot
  ModuleCounts modules_;
};

}  // namespace runrig::detail
