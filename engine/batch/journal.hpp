#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/channel/object.hpp"

namespace runrig::batch {

/// What a worker tells of one task while it is at it, in memory shared with the parent: what it is about to do, and a
/// row of finished records. Both can be read after the worker was killed at any point, which is the purpose: the
/// parent can then say what the HDF5 library was doing, and keep what was finished.
///
/// A handle to memory that somebody else owns; trivially copyable, the same in all processes of an arena. One writer,
/// the worker; one reader, the parent, which believes nothing that it has not checked.
class Journal {
 public:
  /// The smallest block that makes sense.
  static constexpr std::size_t min_bytes = 4096;

  Journal() noexcept = default;
  Journal(std::byte* memory, std::size_t size_bytes) noexcept : memory_(memory), size_bytes_(size_bytes) {}

  /// Parent, before the task begins: no action, no records.
  void reset() const noexcept;
  /// Worker, first thing in each attempt: forgets the action of the attempt before, and keeps the records.
  void act(std::string_view action) const noexcept;
  /// Worker: the items of the task before this one are settled; where the next attempt, or the parent, goes on.
  void set_next(std::uint32_t item) const noexcept;
  [[nodiscard]] std::uint32_t next() const noexcept;
  /// Worker: adds a record. Throws Error no_buffer_space when it does not fit.
  void append(const pickle::Object& record) const;

  /// Parent: what the worker was about to do last ("reading /x"); as text, whatever the bytes are.
  [[nodiscard]] std::string action() const;
  /// Parent: the records finished so far. Throws FormatError if they are not what append() writes.
  [[nodiscard]] std::vector<pickle::Object> records() const;

 private:
  struct Head;
  [[nodiscard]] Head& head() const noexcept;
  [[nodiscard]] std::byte* payload() const noexcept;
  [[nodiscard]] std::size_t capacity() const noexcept;

  std::byte* memory_ = nullptr;
  std::size_t size_bytes_ = 0;
};

}  // namespace runrig::batch
