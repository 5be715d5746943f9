#include "runrig/shm/shared_memory.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cassert>
#include <chrono>
#include <cstdio>
#include <limits>
#include <optional>

#include "handle_internal.hpp"
#include "huge_pages.hpp"
#include "liveness.hpp"
#include "participation.hpp"
#include "reserve.hpp"
#include "runrig/shm/sweep.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/killpoint.hpp"
#include "segment_file.hpp"

namespace runrig {
namespace {

using detail::LockAttempt;
using detail::SegmentPath;

using Fill = std::function<void(std::span<std::byte>)>;

std::string attempt_text(std::size_t size_bytes) {
  return "create segment of " + std::to_string(size_bytes) + " bytes";
}

// Makes this process a member of a session.
detail::Membership enter_session() {
  detail::Membership membership = detail::join_session();
  if (membership.founded) detail::sweep_at_start();
  return membership;
}

// A file of ours, without a name yet: if we are killed, it is gone.
UniqueFd make_nameless(std::size_t size_bytes, std::string_view attempted, std::string_view name) {
  detail::check_file_size_limit(size_bytes, attempted, name);
  detail::check_file_system_room(detail::segment_directory, size_bytes, attempted, name);
  detail::check_memory_room(size_bytes, attempted, name);
  UniqueFd fd(check_errno(
      retry_on_eintr([] { return ::open(detail::segment_directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); }), attempted,
      name));
  check_errno(::fchmod(fd.get(), 0600), attempted, name);  // whatever the umask took
  check_errno(retry_on_eintr([&] { return ::ftruncate(fd.get(), static_cast<off_t>(size_bytes)); }), attempted, name);
  detail::reserve_huge_pages(fd.get(), 0, size_bytes);
  detail::reserve_pages(fd.get(), 0, size_bytes, attempted, name);
  if (detail::try_lock_shared(fd.get()) != LockAttempt::taken) check_errno(-1, attempted, name);
  RUNRIG_KILLPOINT("shm.create.reserved");
  return fd;
}

// The segment's entry in the registry, taken back unless the segment got its name.
class Registration {
 public:
  Registration(const detail::Membership& membership, std::string_view name, SegmentId id, std::size_t size_bytes)
      : registry_(membership.registry), id_(id) {
    detail::RegistryEntry entry;
    entry.id = id;
    entry.size_bytes = size_bytes;
    entry.creator = this_process_identity();
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    entry.created_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
    entry.session = membership.session;
    std::copy(name.begin(), name.end(), entry.name.begin());
    registry_.publish(entry);
    RUNRIG_KILLPOINT("shm.create.registered");
  }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;
  ~Registration() {
    if (!kept_) registry_.remove(detail::entry_file_name(id_).data());
  }
  void keep() noexcept { kept_ = true; }

 private:
  const detail::Registry& registry_;
  SegmentId id_;
  bool kept_ = false;
};

bool name_is_taken(const SegmentPath& path) {
  return ::faccessat(AT_FDCWD, path.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

SegmentId identify(int fd, std::string_view attempted, std::string_view name) {
  struct stat status {};
  check_errno(::fstat(fd, &status), attempted, name);
  return {status.st_dev, status.st_ino};
}

struct Made {
  UniqueFd fd;
  Mapping mapping;
  SegmentId id;
};

// Returns none if the name is taken.
std::optional<Made> try_create(const detail::Membership& membership, std::string_view name, std::size_t size_bytes,
                               const Fill& fill) {
  const std::string attempted = attempt_text(size_bytes);
  const SegmentPath path(name);
  // Asked first because reserving and filling take their time; what decides is the linkat.
  if (name_is_taken(path)) return std::nullopt;
  UniqueFd fd = make_nameless(size_bytes, attempted, name);
  Mapping mapping = Mapping::map(fd.get(), 0, size_bytes, Access::read_write, name);
  if (fill) fill(mapping.writable_bytes());
  const SegmentId id = identify(fd.get(), attempted, name);
  Registration registration(membership, name, id, size_bytes);
  const std::string self = "/proc/self/fd/" + std::to_string(fd.get());
  if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) {
    if (errno == EEXIST) return std::nullopt;
    check_errno(-1, attempted, name);
  }
  RUNRIG_KILLPOINT("shm.create.named");
  registration.keep();
  if (!membership.visit.still_there()) {
    (void)detail::unlink_segment(&membership.registry, std::string(name).c_str(), id);
    throw Error(std::errc::no_such_file_or_directory, attempted + " (its manager was shut down meanwhile)", name);
  }
  return Made{std::move(fd), std::move(mapping), id};
}

void check_size(std::size_t size_bytes, std::string_view name) {
  if (size_bytes > 0 && size_bytes <= std::size_t{std::numeric_limits<std::ptrdiff_t>::max()}) return;
  throw Error(std::errc::invalid_argument, attempt_text(size_bytes), name);
}

std::string random_name() {
  std::uint64_t random = 0;
  const auto got = retry_on_eintr([&] { return ::getrandom(&random, sizeof random, 0); });
  check_errno(got, "draw a name for", "segment");
  char text[24];
  std::snprintf(text, sizeof text, "rr_%016llx", static_cast<unsigned long long>(random));
  return text;
}

}  // namespace

SharedMemory SharedMemory::create(std::string_view name, std::size_t size_bytes) {
  return create(name, size_bytes, Fill());
}

SharedMemory SharedMemory::create(std::string_view name, std::size_t size_bytes, const Fill& fill) {
  detail::check_segment_name(name, "create segment");
  check_size(size_bytes, name);
  auto made = try_create(enter_session(), name, size_bytes, fill);  // entering may free the name, or room
  if (!made) throw Error(std::errc::file_exists, attempt_text(size_bytes), name);
  return SharedMemory(std::string(name), std::move(made->fd), std::move(made->mapping), made->id);
}

SharedMemory SharedMemory::create(std::size_t size_bytes) { return create(size_bytes, Fill()); }

SharedMemory SharedMemory::create(std::size_t size_bytes, const Fill& fill) {
  check_size(size_bytes, "with a random name");
  return create(enter_session(), size_bytes, fill);
}

SharedMemory SharedMemory::create(const detail::Membership& membership, std::size_t size_bytes, const Fill& fill) {
  check_size(size_bytes, "with a random name");
  for (;;) {  // two equal names out of 2^64 are a curiosity, three a broken kernel
    std::string name = random_name();
    if (auto made = try_create(membership, name, size_bytes, fill)) {
      return SharedMemory(std::move(name), std::move(made->fd), std::move(made->mapping), made->id);
    }
  }
}

SharedMemory SharedMemory::attach(std::string_view name, Access access) {
  detail::check_segment_name(name, "attach segment");
  const SegmentPath path(name);
  auto file = detail::open_segment_file(path.c_str(), access, "attach segment", name);
  detail::lock_for_use(file.fd.get(), "attach segment", name);
  // A sweep may have removed it while we waited for the lock.
  if (!detail::leads_to(path.c_str(), file.id))
    throw Error(std::errc::no_such_file_or_directory, "attach segment", name);
  Mapping mapping = Mapping::map(file.fd.get(), 0, file.size_bytes, access, name);
  return SharedMemory(std::string(name), std::move(file.fd), std::move(mapping), file.id);
}

SharedMemory SharedMemory::attach(const SegmentHandle& handle, Access access) {
  const std::string_view name = handle.name_view();
  detail::check_segment_name(name, "attach segment by handle");
  auto file = detail::open_by_handle(handle, access);
  detail::lock_for_use(file.fd.get(), "attach segment by handle", name);
  Mapping mapping = Mapping::map(file.fd.get(), 0, handle.size_bytes, access, name);
  return SharedMemory(std::string(name), std::move(file.fd), std::move(mapping), file.id);
}

SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept {
  if (this != &other) {
    close();
    name_ = std::move(other.name_);
    fd_ = std::move(other.fd_);
    mapping_ = std::move(other.mapping_);
    id_ = other.id_;
  }
  return *this;
}

std::span<const std::byte> SharedMemory::bytes() const {
  detail::check_open(mapping_, name_);
  return mapping_.bytes();
}

std::span<std::byte> SharedMemory::writable_bytes() const {
  detail::check_open(mapping_, name_);
  return mapping_.writable_bytes();
}

SegmentHandle SharedMemory::handle() const {
  detail::check_open(mapping_, name_);
  return detail::make_handle(fd_.get(), id_, mapping_.size_bytes(), name_);
}

std::size_t SharedMemory::use_huge_pages() {
  detail::check_open(mapping_, name_);
  return detail::use_huge_pages(fd_.get(), mapping_, 0, mapping_.size_bytes(), name_);
}

void SharedMemory::unlink() {
  detail::check_segment_name(name_, "unlink segment");  // empty when moved from
  const auto registry = detail::Registry::open_existing();
  check_code(detail::unlink_segment(registry ? &*registry : nullptr, name_.c_str(), id_), "unlink segment", name_);
}

void SharedMemory::persist() {
  detail::check_segment_name(name_, "persist segment");
  const auto registry = detail::Registry::open_existing();
  if (!registry || !detail::leads_to(SegmentPath(name_).c_str(), id_)) {
    throw Error(std::errc::no_such_file_or_directory, "persist segment", name_);
  }
  registry->mark_persistent(id_, name_);
}

void SharedMemory::close() noexcept {
  if (!mapping_) return;
  mapping_.reset();
  fd_.reset();
  detail::notify_closed(id_);
}

}  // namespace runrig
