#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runrig/shm/handle.hpp"
#include "runrig/shm/mapping.hpp"
#include "runrig/sync/unique_fd.hpp"

namespace runrig {

class SharedMemoryManager;
namespace detail {
struct Membership;
}

/// True for 1 to 200 characters out of [A-Za-z0-9_.-], the first neither '.' nor '-'.
[[nodiscard]] bool is_segment_name(std::string_view name) noexcept;

/// A named shared memory segment, mapped into this process. The same thing as Python's
/// multiprocessing.shared_memory.SharedMemory(name=...): either side may create, the other attach.
///
/// The destructor unmaps. The name stays until unlink(), or until the creator and all participants of its resource
/// tracker (see tracker.hpp) are gone, however they end. Only creating makes a segment ours to clean up; attaching
/// never does. Mappings outlive the name.
///
/// A Python of version 3.12 or older unlinks every segment that it has merely attached when it exits; mappings and
/// handles here keep working, but the name is gone. There, call `multiprocessing.resource_tracker.unregister("/" +
/// name, "shared_memory")` after attaching.
///
/// Base addresses differ between processes, so a segment stores offsets, never pointers. Access is not synchronised:
/// writers of one range share a lock placed in the segment. A peer that truncates the segment while it is in use kills
/// whoever touches the lost part (SIGBUS); memory that must be safe from that is AnonymousMemory. One object must not
/// be moved or closed while another thread uses it.
///
/// "Not a plain name" below means that is_segment_name() is false; it is found out before any system call.
class SharedMemory {
 public:
  /// Creates segment `name` of `size_bytes` bytes, all zero, mode 0600 whatever the umask. Pages are reserved here, so
  /// a full file system is an error now and not a SIGBUS at first touch later. The name appears when the segment is
  /// complete and in use, in one step. Throws Error: file_exists (the other segment is left alone), no_space_on_device
  /// or not_enough_memory (with the numbers), file_too_large (RLIMIT_FSIZE), invalid_argument (size 0, or not a plain
  /// name).
  [[nodiscard]] static SharedMemory create(std::string_view name, std::size_t size_bytes);
  /// The same; `fill` is given the bytes before anybody can find them by name. What it throws is passed on, and nothing
  /// is left.
  [[nodiscard]] static SharedMemory create(std::string_view name, std::size_t size_bytes,
                                           const std::function<void(std::span<std::byte>)>& fill);
  /// With a random name, "rr_" and 16 hexadecimal digits.
  [[nodiscard]] static SharedMemory create(std::size_t size_bytes);
  [[nodiscard]] static SharedMemory create(std::size_t size_bytes,
                                           const std::function<void(std::span<std::byte>)>& fill);

  /// Maps all of an existing segment, whoever made it. Throws Error at once: no_such_file_or_directory;
  /// permission_denied if it belongs to another user or may be written by one; invalid_argument if it is no regular
  /// file (a symbolic link, FIFO, directory, device), has further hard links, is empty, or is not a plain name.
  /// TimeoutError if a sweep holds it for more than 10 s.
  [[nodiscard]] static SharedMemory attach(std::string_view name, Access access = Access::read_write);
  /// Maps the very segment that another process's handle() names, as long as that has it open, also after unlink(). As
  /// map_segment(); also throws Error invalid_argument for a handle to anonymous memory.
  [[nodiscard]] static SharedMemory attach(const SegmentHandle& handle, Access access = Access::read_write);

  SharedMemory(SharedMemory&&) noexcept = default;
  SharedMemory& operator=(SharedMemory&& other) noexcept;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { close(); }

  /// Also after close() and unlink().
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] SegmentId id() const noexcept { return id_; }
  /// Exactly what the creator asked for. 0 after close().
  [[nodiscard]] std::size_t size_bytes() const noexcept { return mapping_.size_bytes(); }
  [[nodiscard]] Access access() const noexcept { return mapping_.access(); }
  /// Throw std::logic_error after close(), the second also if attached read_only.
  [[nodiscard]] std::span<const std::byte> bytes() const;
  [[nodiscard]] std::span<std::byte> writable_bytes() const;
  /// For fstat, pread and the like. Close-on-exec; -1 after close(). Never lock or unlock it with flock: it carries the
  /// lock that says "in use".
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  /// For others to attach while this object is open or the name is there. Throws std::logic_error after close().
  [[nodiscard]] SegmentHandle handle() const;

  /// Puts the memory into huge pages, as far as the system gives them; see AnonymousMemory::use_huge_pages(). Returns
  /// how many bytes are in huge pages now. Pages that were punched out get memory again: throws Error as create() does,
  /// and std::logic_error after close() or if attached read_only.
  std::size_t use_huge_pages();
  /// Removes the name, by whichever process. Mappings, ours too, stay valid. Also after close(). Throws Error
  /// no_such_file_or_directory if the name is gone already (so also the second time), or names another segment by now,
  /// which is left alone.
  void unlink();
  /// Keeps the segment when nobody uses it any more: neither the resource tracker nor `runrig shm gc` removes it, only
  /// unlink() or `runrig shm rm` does. For segments that Runrig created. Throws Error no_such_file_or_directory if it
  /// did not, or if the name is gone.
  void persist();
  /// Unmaps now. Harmless the second time.
  void close() noexcept;

 private:
  friend class SharedMemoryManager;
  // With a random name, entered into the registry for that session.
  static SharedMemory create(const detail::Membership& membership, std::size_t size_bytes,
                             const std::function<void(std::span<std::byte>)>& fill);
  SharedMemory(std::string name, UniqueFd fd, Mapping mapping, SegmentId id) noexcept
      : name_(std::move(name)), fd_(std::move(fd)), mapping_(std::move(mapping)), id_(id) {}

  std::string name_;
  // One resource per member, each move-only, so the compiler writes the move constructor.
  UniqueFd fd_;  // carries the liveness lock; declared first, so closed after the unmap
  Mapping mapping_;
  SegmentId id_;
};

namespace detail {
/// Makes a segment somewhere, filled before anybody can find it.
using MakeSegment =
    std::function<SharedMemory(std::size_t size_bytes, const std::function<void(std::span<std::byte>)>& fill)>;
}  // namespace detail

}  // namespace runrig
