#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "heap_core.hpp"
#include "runrig/shm/anonymous_memory.hpp"

namespace runrig::detail {

/// One heap as this process has it mapped: once, however many Heap objects and blocks refer to it.
class HeapSegment {
 public:
  explicit HeapSegment(AnonymousMemory memory) : memory_(std::move(memory)), core_(memory_.writable_bytes()) {}

  [[nodiscard]] const AnonymousMemory& memory() const noexcept { return memory_; }
  [[nodiscard]] std::span<std::byte> bytes() const { return memory_.writable_bytes(); }
  [[nodiscard]] HeapCore& core() noexcept { return core_; }

 private:
  AnonymousMemory memory_;
  HeapCore core_;
};

/// How often this process and its forebears were forked since the library was loaded. Whoever remembers the number
/// knows later whether it is still in the same process; unlike a pid it is never used again among relatives.
[[nodiscard]] std::uint64_t fork_generation() noexcept;

/// A heap of this process that has room for the block, and the block; a new heap where needed.
[[nodiscard]] std::pair<Heap, BlockHandle> allocate_in_process(std::size_t bytes, std::size_t alignment);

}  // namespace runrig::detail
