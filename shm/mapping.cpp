#include "runrig/shm/mapping.hpp"

#include <sys/mman.h>

#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "runrig/sync/error.hpp"

namespace runrig {
namespace {

namespace ipc = boost::interprocess;

// What Boost asks of "something that can be mapped". The descriptor stays its owner's.
struct OpenFile {
  int fd;
  [[nodiscard]] ipc::mapping_handle_t get_mapping_handle() const noexcept { return {fd, false}; }
};

// The one place where Boost's exceptions become ours. Their own text is dropped: it is strerror's at best.
// A native error of 0 is Boost's own verdict on the arguments, not the system's.
[[noreturn]] void throw_error(int native_error, std::size_t size_bytes, std::string_view name) {
  throw Error({native_error != 0 ? native_error : EINVAL, std::system_category()},
              "map " + std::to_string(size_bytes) + " bytes of", name);
}

ipc::mapped_region* region_at(std::byte* storage) noexcept {
  return std::launder(reinterpret_cast<ipc::mapped_region*>(storage));
}

/// A free place for so much at a multiple of a huge page, so that the kernel can map huge pages as such; null if there
/// is none. By the time that it is used it may be taken.
void* place_for_huge_pages(std::size_t size_bytes) noexcept {
  const std::size_t room = size_bytes + huge_page_bytes;
  if (room < size_bytes) return nullptr;
  void* const found = ::mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (found == MAP_FAILED) return nullptr;
  if (::munmap(found, room) != 0) return nullptr;
  const std::size_t beyond = reinterpret_cast<std::uintptr_t>(found) % huge_page_bytes;
  return static_cast<std::byte*>(found) + (beyond == 0 ? 0 : huge_page_bytes - beyond);
}

}  // namespace

Mapping Mapping::map(int fd, std::size_t offset_bytes, std::size_t size_bytes, Access access, std::string_view name,
                     void* at) {
  if (at == nullptr && offset_bytes == 0 && size_bytes >= huge_page_bytes) {
    if (void* const place = place_for_huge_pages(size_bytes)) {
      try {
        return map_at(fd, offset_bytes, size_bytes, access, name, place);
      } catch (const Error&) {
        // Another thread was faster; or something is wrong that is said below.
      }
    }
  }
  return map_at(fd, offset_bytes, size_bytes, access, name, at);
}

Mapping Mapping::map_at(int fd, std::size_t offset_bytes, std::size_t size_bytes, Access access, std::string_view name,
                        void* at) {
  static_assert(sizeof(ipc::mapped_region) <= sizeof(region_) && alignof(ipc::mapped_region) <= alignof(std::uintptr_t),
                "Boost's mapped_region has grown: so must the storage for it in the header");
  // Boost takes size 0 for "all of the file" and rounds an offset down to a page; here both are mistakes.
  if (size_bytes == 0 || offset_bytes % ipc::mapped_region::get_page_size() != 0 ||
      offset_bytes > std::size_t{std::numeric_limits<ipc::offset_t>::max()}) {
    throw_error(EINVAL, size_bytes, name);
  }
  Mapping mapping;
  try {
    // MAP_NORESERVE: a sparse file larger than memory may be laid out; whoever wants its pages for sure reserves them.
    const auto* const region = ::new (mapping.region_)
        ipc::mapped_region(OpenFile{fd}, access == Access::read_write ? ipc::read_write : ipc::read_only,
                           static_cast<ipc::offset_t>(offset_bytes), size_bytes, at,
                           at == nullptr ? MAP_NORESERVE : MAP_NORESERVE | MAP_FIXED_NOREPLACE);
    mapping.data_ = static_cast<std::byte*>(region->get_address());
  } catch (const ipc::interprocess_exception& exception) {
    // Kernels before 4.17 do not know MAP_FIXED_NOREPLACE and map elsewhere, which Boost calls "busy".
    const bool taken = exception.get_native_error() == EEXIST || exception.get_error_code() == ipc::busy_error;
    if (at != nullptr && taken) throw_error(EADDRINUSE, size_bytes, name);
    throw_error(exception.get_native_error(), size_bytes, name);
  }
  mapping.size_bytes_ = size_bytes;
  mapping.access_ = access;
  return mapping;
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    take(other);
  }
  return *this;
}

// Called when there is nothing here.
void Mapping::take(Mapping& other) noexcept {
  access_ = other.access_;
  if (!other) return;
  ::new (region_) ipc::mapped_region(boost::move(*region_at(other.region_)));
  data_ = other.data_;
  size_bytes_ = other.size_bytes_;
  other.reset();
}

void Mapping::reset() noexcept {
  if (data_ != nullptr) std::destroy_at(region_at(region_));  // unmaps, if it was not moved from
  data_ = nullptr;
  size_bytes_ = 0;
}

}  // namespace runrig
