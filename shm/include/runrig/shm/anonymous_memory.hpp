#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runrig/shm/handle.hpp"
#include "runrig/shm/mapping.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig {

/// When memory gets its pages: all at creation, so that lack of memory is an error then; or each at its first touch, so
/// that far more can be laid out than there is (the kernel then kills a process when memory runs out).
enum class Reserve { now, lazily };

/// Where memory is mapped: wherever the kernel likes; or apart from where programs, libraries, heaps and stacks are, at
/// a random place that is most likely free in other processes, too, so that they can map it at the same address. (Where
/// a system leaves no such room, that is as `anywhere`.)
enum class Placement { anywhere, apart };

/// Shared memory without a name (a memfd), mapped into this process: vanishes with its last user, however that ends.
/// Its size is sealed: nobody can truncate it under our feet. (Nobody can be kept from punching holes, which turn to
/// zeros.)
///
/// It does not count against the size of /dev/shm, but like that against the memory of the machine and the cgroup.
/// Forked children have the mapping at once, at the same address; other processes of this user attach by handle() or
/// are sent the descriptor. Access is not synchronised. Move-only; one object must not be moved or closed while another
/// thread uses it.
class AnonymousMemory {
 public:
  /// Creates `size_bytes` zero bytes. `label` is for people who read /proc/PID/maps ("memfd:label"), at most 200 bytes
  /// without '/' or NUL. Throws Error: not_enough_memory with the numbers in it (Reserve::now, or no room in the
  /// address space), invalid_argument (size 0, bad label), too_many_files_open.
  [[nodiscard]] static AnonymousMemory create(std::string_view label, std::size_t size_bytes,
                                              Reserve reserve = Reserve::now,
                                              Placement placement = Placement::anywhere);
  /// Maps all of a memfd that was sent to this process; takes ownership of the descriptor. Throws Error
  /// invalid_argument unless it is a memfd sealed against shrinking and growing, of size above 0. `at`: exactly there,
  /// or address_in_use.
  [[nodiscard]] static AnonymousMemory attach(UniqueFd fd, Access access = Access::read_write, void* at = nullptr);
  /// The same through a handle.
  [[nodiscard]] static AnonymousMemory attach(const SegmentHandle& handle, Access access = Access::read_write);
  AnonymousMemory(AnonymousMemory&&) noexcept = default;
  AnonymousMemory& operator=(AnonymousMemory&& other) noexcept;
  AnonymousMemory(const AnonymousMemory&) = delete;
  AnonymousMemory& operator=(const AnonymousMemory&) = delete;
  ~AnonymousMemory() { close(); }

  [[nodiscard]] std::size_t size_bytes() const noexcept { return mapping_.size_bytes(); }
  [[nodiscard]] SegmentId id() const noexcept { return id_; }
  /// Throw std::logic_error after close(), the second also if attached read_only.
  [[nodiscard]] std::span<const std::byte> bytes() const;
  [[nodiscard]] std::span<std::byte> writable_bytes() const;
  /// Close-on-exec; -1 after close().
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// For others to attach while this object is open. Throws std::logic_error after close().
  [[nodiscard]] SegmentHandle handle() const;

  /// Gives the pages of a range their memory now. Throws Error not_enough_memory with the numbers, std::out_of_range.
  void reserve(std::size_t offset_bytes, std::size_t size_bytes);
  /// Puts a range into huge pages, as far as the system gives them (Linux 6.1; each is 2 MiB at a multiple of that, and
  /// lies in the range as a whole), and gives the rest its memory as reserve() does. Returns how many bytes are in huge
  /// pages now. Contents stay; others may use the memory meanwhile.
  ///
  /// For memory that is large, filled, and read more than once: a processor finds its way through it more easily (the
  /// gain is in docs/performance.md), and mapping it takes next to no time. Before anything is written it takes a
  /// fraction of what the first touch of pages does; filled pages are copied, at some 2 s/GiB. A system that is short
  /// of memory in one piece gives none, and a virtual machine that returned its free memory to its host takes its time.
  /// Throws as reserve(), and std::logic_error if attached read_only.
  std::size_t use_huge_pages(std::size_t offset_bytes, std::size_t size_bytes);
  std::size_t use_huge_pages() { return use_huge_pages(0, size_bytes()); }
  /// Gives the memory of a range back to the system, for all who map it: it reads as zeros from now on. Pages that lie
  /// only partly in the range are zeroed there and kept. Throws Error, std::out_of_range.
  void punch(std::size_t offset_bytes, std::size_t size_bytes);
  /// Bytes that have memory now, over all processes.
  [[nodiscard]] std::size_t resident_bytes() const;

  /// Unmaps now. Harmless the second time.
  void close() noexcept;

 private:
  AnonymousMemory(UniqueFd fd, Mapping mapping, SegmentId id) noexcept
      : fd_(std::move(fd)), mapping_(std::move(mapping)), id_(id) {}

  UniqueFd fd_;
  Mapping mapping_;
  SegmentId id_;
};

}  // namespace runrig
