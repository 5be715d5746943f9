#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runrig/engine/arena.hpp"
#include "runrig/engine/launch.hpp"

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

/// Knows which addresses mean the same in the workers as here: the arena, and what was shared, or constant, when they
/// were forked. Everything else that a kernel may have captured is refused.
class CaptureCheck {
 public:
  /// Call it just before the fork.
  void take_snapshot();
  /// Throws std::logic_error, in words, if the kernel's code was loaded after the snapshot, or if a word of its
  /// captures points to memory that the workers do not have. Cheap for captures without pointers. Numbers below 2^44
  /// never count as pointers.
  void check(SliceBody body, const void* closure, std::size_t closure_bytes, const Arena& arena);
  /// The two halves of it.
  void check_code(SliceBody body);
  void check_captures(const void* closure, std::size_t closure_bytes, const Arena& arena);

 private:
  [[nodiscard]] const MappedRange* find_known(std::uintptr_t address) const;
  void check_word(std::uintptr_t word, std::size_t offset);

  std::vector<MappedRange> known_;  // what was shared or constant at the snapshot
  std::uint64_t modules_loaded_ = 0;
  std::uint64_t modules_unloaded_ = 0;
};

}  // namespace runrig::detail
