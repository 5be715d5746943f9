#include "runrig/shm/anonymous_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <limits>
#include <stdexcept>

#include "handle_internal.hpp"
#include "huge_pages.hpp"
#include "reserve.hpp"
#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

constexpr std::string_view anonymous = "anonymous memory";

void check_label(std::string_view label) {
  if (label.size() <= longest_segment_name && label.find('/') == std::string_view::npos &&
      label.find('\0') == std::string_view::npos) {
    return;
  }
  throw Error(std::errc::invalid_argument, "create anonymous memory (a label has at most 200 characters, no / or NUL)",
              label.substr(0, 64));
}

// Between the addresses where Linux puts a program and its heap (from 0x55..., with the address sanitizer also from
// 0x60...) and the low ones, which programs at a fixed address and the sanitizers' shadows have. The thread sanitizer
// takes no memory there.
#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(__SANITIZE_THREAD__)
constexpr std::uint64_t apart_begin = 0x2000'0000'0000;
constexpr std::uint64_t apart_end = 0x5000'0000'0000;
#else
constexpr std::uint64_t apart_begin = 0;
constexpr std::uint64_t apart_end = 0;
#endif
constexpr std::uint64_t apart_step = huge_page_bytes;

Mapping map_apart(int fd, std::size_t size_bytes, std::string_view label) {
  constexpr int tries = 8;
  for (int i = 0; i < tries && size_bytes < apart_end - apart_begin; ++i) {
    std::uint64_t random = 0;
    if (::getrandom(&random, sizeof random, 0) != sizeof random) break;
    const std::uint64_t places = (apart_end - apart_begin - size_bytes) / apart_step;
    const std::uint64_t address = apart_begin + random % (places + 1) * apart_step;
    try {
      return Mapping::map(fd, 0, size_bytes, Access::read_write, label, reinterpret_cast<void*>(address));
    } catch (const Error& error) {
      // Taken, by other memory of this kind; or beyond what this kernel gives to programs.
      if (error.code() != std::errc::address_in_use && error.code() != std::errc::not_enough_memory) throw;
    }
  }
  return Mapping::map(fd, 0, size_bytes, Access::read_write, label);
}

}  // namespace

AnonymousMemory AnonymousMemory::create(std::string_view label, std::size_t size_bytes, Reserve reserve,
                                        Placement placement) {
  check_label(label);
  const std::string attempted = "create anonymous memory of " + std::to_string(size_bytes) + " bytes";
  if (size_bytes == 0 || size_bytes > std::size_t{std::numeric_limits<std::ptrdiff_t>::max()}) {
    throw Error(std::errc::invalid_argument, attempted, label);
  }
  if (reserve == Reserve::now) detail::check_memory_room(size_bytes, attempted, label);
  detail::check_file_size_limit(size_bytes, attempted, label);
  UniqueFd fd(
      check_errno(::memfd_create(std::string(label).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING), attempted, label));
  check_errno(::fchmod(fd.get(), 0600), attempted, label);  // born 0777; a handle is checked like a named segment
  check_errno(retry_on_eintr([&] { return ::ftruncate(fd.get(), static_cast<off_t>(size_bytes)); }), attempted, label);
  if (reserve == Reserve::now) {
    detail::reserve_huge_pages(fd.get(), 0, size_bytes);
    detail::reserve_pages(fd.get(), 0, size_bytes, attempted, label);
  }
  check_errno(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), attempted, label);
  struct stat status {};
  check_errno(::fstat(fd.get(), &status), attempted, label);
  Mapping mapping = placement == Placement::apart ? map_apart(fd.get(), size_bytes, label)
                                                  : Mapping::map(fd.get(), 0, size_bytes, Access::read_write, label);
  return AnonymousMemory(std::move(fd), std::move(mapping), {status.st_dev, status.st_ino});
}

AnonymousMemory AnonymousMemory::attach(UniqueFd fd, Access access, void* at) {
  constexpr std::string_view attempted = "attach";
  detail::check_sealed(fd.get(), attempted, anonymous);
  struct stat status {};
  check_errno(::fstat(fd.get(), &status), attempted, anonymous);
  if (status.st_size <= 0) throw Error(std::errc::invalid_argument, "attach (it is empty)", anonymous);
  Mapping mapping = Mapping::map(fd.get(), 0, static_cast<std::size_t>(status.st_size), access, anonymous, at);
  return AnonymousMemory(std::move(fd), std::move(mapping), {status.st_dev, status.st_ino});
}

AnonymousMemory AnonymousMemory::attach(const SegmentHandle& handle, Access access) {
  auto file = detail::open_by_handle(handle, access);
  if (handle.name[0] != '\0') detail::check_sealed(file.fd.get(), "attach by handle", handle.name_view());
  return attach(std::move(file.fd), access);
}

AnonymousMemory& AnonymousMemory::operator=(AnonymousMemory&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::move(other.fd_);
    mapping_ = std::move(other.mapping_);
    id_ = other.id_;
  }
  return *this;
}

std::span<const std::byte> AnonymousMemory::bytes() const {
  detail::check_open(mapping_, anonymous);
  return mapping_.bytes();
}

std::span<std::byte> AnonymousMemory::writable_bytes() const {
  detail::check_open(mapping_, anonymous);
  return mapping_.writable_bytes();
}

SegmentHandle AnonymousMemory::handle() const {
  detail::check_open(mapping_, anonymous);
  return detail::make_handle(fd_.get(), id_, mapping_.size_bytes(), {});
}

namespace {

void check_range(const Mapping& mapping, std::size_t offset_bytes, std::size_t size_bytes) {
  detail::check_open(mapping, anonymous);
  // By subtraction: the sum could wrap.
  if (offset_bytes > mapping.size_bytes() || size_bytes > mapping.size_bytes() - offset_bytes) {
    throw std::out_of_range("range [" + std::to_string(offset_bytes) + ", +" + std::to_string(size_bytes) +
                            ") of anonymous memory of " + std::to_string(mapping.size_bytes()) + " bytes");
  }
}

}  // namespace

void AnonymousMemory::reserve(std::size_t offset_bytes, std::size_t size_bytes) {
  check_range(mapping_, offset_bytes, size_bytes);
  const std::string attempted = "reserve " + std::to_string(size_bytes) + " bytes of";
  detail::check_memory_room(size_bytes, attempted, anonymous);
  detail::reserve_pages(fd_.get(), offset_bytes, size_bytes, attempted, anonymous);
}

std::size_t AnonymousMemory::use_huge_pages(std::size_t offset_bytes, std::size_t size_bytes) {
  check_range(mapping_, offset_bytes, size_bytes);
  return detail::use_huge_pages(fd_.get(), mapping_, offset_bytes, size_bytes, anonymous);
}

void AnonymousMemory::punch(std::size_t offset_bytes, std::size_t size_bytes) {
  check_range(mapping_, offset_bytes, size_bytes);
  if (size_bytes == 0) return;  // the system call takes that for a mistake
  check_errno(retry_on_eintr([&] {
                return ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                   static_cast<off_t>(offset_bytes), static_cast<off_t>(size_bytes));
              }),
              "release " + std::to_string(size_bytes) + " bytes of", anonymous);
}

std::size_t AnonymousMemory::resident_bytes() const {
  detail::check_open(mapping_, anonymous);
  struct stat status {};
  check_errno(::fstat(fd_.get(), &status), "look at", anonymous);
  return static_cast<std::size_t>(status.st_blocks) * 512;
}

void AnonymousMemory::close() noexcept {
  if (!mapping_) return;
  mapping_.reset();
  fd_.reset();
  detail::notify_closed(id_);
}

}  // namespace runrig
