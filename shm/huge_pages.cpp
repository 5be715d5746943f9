#include "huge_pages.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <exception>
#include <limits>
#include <string>

#include "reserve.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::detail {
namespace {

// Of Linux 6.1; Debian 12's headers of the C library do not have it.
#if defined(MADV_COLLAPSE)
constexpr int collapse_advice = MADV_COLLAPSE;
#else
constexpr int collapse_advice = 25;
#endif

/// Bytes of the range that have no memory yet. Counts as such what cannot be looked at.
std::size_t missing_bytes(int fd, std::size_t offset_bytes, std::size_t size_bytes) noexcept {
  const auto end = static_cast<off_t>(offset_bytes + size_bytes);
  std::size_t missing = 0;
  for (auto at = static_cast<off_t>(offset_bytes); at < end;) {
    const off_t data = ::lseek(fd, at, SEEK_DATA);
    if (data < 0 || data >= end) return missing + static_cast<std::size_t>(end - at);
    missing += static_cast<std::size_t>(data - at);
    at = ::lseek(fd, data, SEEK_HOLE);
    if (at < 0) return missing + static_cast<std::size_t>(end - data);
  }
  return missing;
}

/// Returns 0 or the system's error.
int collapse(int fd, std::byte* piece, std::size_t offset_bytes) noexcept {
  // The kernel refuses a piece without a single page. Given one it fills up the rest itself, by one clearing, which
  // takes a fraction of what the 512 pages would.
  const auto first = retry_on_eintr([&] { return ::fallocate(fd, 0, static_cast<off_t>(offset_bytes), 1); });
  if (first != 0) return errno;
  constexpr int tries = 3;  // pages that somebody has hold of for the moment
  int code = 0;
  for (int i = 0; i < tries; ++i) {
    if (::madvise(piece, huge_page_bytes, collapse_advice) == 0) return 0;
    code = errno;
    if (code != EAGAIN && code != EBUSY) break;
  }
  return code;
}

using Clock = std::chrono::steady_clock;

/// 512 single pages take some 1.5 ms to reserve and map. A huge one takes 0.2, but many times that where the kernel
/// first has to move others out of the way, or a virtual machine to get the memory from its host.
constexpr auto worth_for_each = std::chrono::milliseconds(1);
constexpr auto worth_at_first = std::chrono::milliseconds(2);
/// Of less, the first that is too slow would be a large part.
constexpr std::size_t least_reserved_huge = 8 * huge_page_bytes;

/// Not before this is it tried again in this process, after it took too long. Relaxed: nothing else hangs on it.
std::atomic<Clock::rep> not_before{std::numeric_limits<Clock::rep>::min()};
constexpr auto pause_after_slow = std::chrono::seconds(1);

}  // namespace

void reserve_huge_pages(int fd, std::size_t offset_bytes, std::size_t size_bytes) noexcept {
  if (size_bytes < least_reserved_huge) return;
  const auto begin = Clock::now();
  if (begin.time_since_epoch().count() < not_before.load(std::memory_order_relaxed)) return;
  const std::size_t end = (offset_bytes + size_bytes) / huge_page_bytes * huge_page_bytes;
  std::size_t at = (offset_bytes + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
  Mapping mapping;
  try {
    mapping = Mapping::map(fd, 0, end, Access::read_write, "pages to be reserved");
  } catch (const std::exception&) {
    return;  // no room in the address space; the caller will hear of it when it maps all
  }
  std::byte* const base = mapping.writable_bytes().data();
  if (reinterpret_cast<std::uintptr_t>(base) % huge_page_bytes != 0) return;
  auto worth = begin + worth_at_first;
  for (; at < end; at += huge_page_bytes) {
    const bool done = collapse(fd, base + at, at) == 0;
    worth += worth_for_each;
    const auto now = Clock::now();
    if (done && now < worth) continue;
    not_before.store((now + pause_after_slow).time_since_epoch().count(), std::memory_order_relaxed);
    return;
  }
}

std::size_t use_huge_pages(int fd, const Mapping& mapping, std::size_t offset_bytes, std::size_t size_bytes,
                           std::string_view name) {
  const std::string attempted = "put " + std::to_string(size_bytes) + " bytes into huge pages of";
  check_memory_room(missing_bytes(fd, offset_bytes, size_bytes), attempted, name);
  std::byte* const base = mapping.writable_bytes().data();
  std::size_t huge_bytes = 0;
  // In page tables a huge page is at a multiple of its size, and in the file it is so always.
  if (reinterpret_cast<std::uintptr_t>(base) % huge_page_bytes == 0) {
    const std::size_t end = (offset_bytes + size_bytes) / huge_page_bytes * huge_page_bytes;
    std::size_t at = (offset_bytes + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
    for (; at < end; at += huge_page_bytes) {
      const int code = collapse(fd, base + at, at);
      if (code == 0) huge_bytes += huge_page_bytes;
      // The kernel cannot, may not, or has no such page left: the next one would fare no better.
      if (code != 0 && code != EAGAIN && code != EBUSY) break;
    }
  }
  reserve_pages(fd, offset_bytes, size_bytes, attempted, name);
  return huge_bytes;
}

}  // namespace runrig::detail
