#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>

#include "runrig/shm/mapping.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig {

/// Which memory it is, whatever its name: the same in all processes, and not used again while anybody has it open or
/// mapped.
struct SegmentId {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  friend constexpr auto operator<=>(const SegmentId&, const SegmentId&) = default;
};

/// The longest name of a segment, in bytes.
inline constexpr std::size_t longest_segment_name = 200;

/// Names a segment, named or anonymous, to any other process of the same user and PID namespace. A plain value of fixed
/// size, to be copied into shared memory, messages and captures. It keeps nothing alive: it works while the process
/// that made it has the segment open, also after unlink(), and for a named segment while the name is there.
///
/// It stands for the whole segment; parts of it are the business of those who add an offset (ArrayHandle, BlockHandle).
struct SegmentHandle {
  std::int32_t pid = 0;  ///< who made the handle ...
  std::int32_t fd = -1;  ///< ... and has the segment open as this descriptor
  SegmentId id;          ///< what must be found there
  std::uint64_t size_bytes = 0;
  std::array<char, 208> name{};  ///< NUL-terminated; empty for anonymous memory

  /// False for a default handle, which names nothing.
  [[nodiscard]] explicit constexpr operator bool() const noexcept { return id.inode != 0; }
  /// Empty if there is none (or if a broken process left no NUL).
  [[nodiscard]] std::string_view name_view() const noexcept;
};
static_assert(std::is_trivially_copyable_v<SegmentHandle> && std::is_standard_layout_v<SegmentHandle>);
static_assert(sizeof(SegmentHandle) == 240, "separately built processes pass it to each other");

/// Names a SharedMemoryManager to any process of the same user that sees the same /dev/shm. A plain value of fixed
/// size; it keeps nothing alive.
struct ManagerHandle {
  std::array<char, 48> session{};  ///< name of its file in the registry, NUL-terminated
  SegmentId id;                    ///< that very file
};
static_assert(std::is_trivially_copyable_v<ManagerHandle> && sizeof(ManagerHandle) == 64);

/// Maps all of the very segment that `handle` names, through /proc/PID/fd, or by its name if that process is gone or
/// has closed it. What is found is compared with the handle before it is mapped; anonymous memory must also have its
/// seals. The handle may come from a broken process. Throws Error: no_such_file_or_directory if the segment is nowhere
/// to be found any more, permission_denied for another user's process, invalid_argument if it is shorter than the
/// handle says or not sealed.
[[nodiscard]] Mapping map_segment(const SegmentHandle& handle, Access access);

/// The same with a descriptor of its own, so that it counts as a user of the segment (see sweep.hpp) and can pass a
/// handle on that outlives the process it got its own from. Move-only; the destructor unmaps and tells
/// SegmentCloseListeners.
class SegmentMapping {
 public:
  [[nodiscard]] static SegmentMapping attach(const SegmentHandle& handle, Access access);
  SegmentMapping(SegmentMapping&&) noexcept = default;
  SegmentMapping& operator=(SegmentMapping&& other) noexcept;
  SegmentMapping(const SegmentMapping&) = delete;
  SegmentMapping& operator=(const SegmentMapping&) = delete;
  ~SegmentMapping() { close(); }

  [[nodiscard]] SegmentId id() const noexcept { return handle_.id; }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return mapping_.size_bytes(); }
  /// Throw std::logic_error after close(), the second also if attached read_only.
  [[nodiscard]] std::span<const std::byte> bytes() const;
  [[nodiscard]] std::span<std::byte> writable_bytes() const;
  /// As SharedMemory::use_huge_pages().
  std::size_t use_huge_pages();
  /// For others to attach while this object is open. Throws std::logic_error after close().
  [[nodiscard]] SegmentHandle handle() const;
  /// Unmaps now. Harmless the second time.
  void close() noexcept;

 private:
  SegmentMapping(UniqueFd fd, Mapping mapping, const SegmentHandle& handle) noexcept
      : fd_(std::move(fd)), mapping_(std::move(mapping)), handle_(handle) {}

  UniqueFd fd_;  // carries the liveness lock; declared first, so closed after the unmap
  Mapping mapping_;
  SegmentHandle handle_;
};

/// Hears of every SharedMemory, AnonymousMemory and SegmentMapping object that is closed in this process, from
/// construction to destruction, so that others (the workers of a pool) can let go of mappings they keep of the same
/// segment. One object closing does not mean that the process has no other of the same segment.
///
/// `closed` is called in the thread that closes, just after the unmap; it must not throw, nor destroy its own listener.
/// Calls are made one at a time; after the destructor none is running and none follows. A forked child inherits the
/// listeners with the objects they belong to.
class SegmentCloseListener {
 public:
  explicit SegmentCloseListener(std::function<void(SegmentId)> closed);
  SegmentCloseListener(const SegmentCloseListener&) = delete;
  SegmentCloseListener& operator=(const SegmentCloseListener&) = delete;
  ~SegmentCloseListener();

 private:
  std::function<void(SegmentId)> closed_;
};

}  // namespace runrig
