#include "runrig/shm/mapping.hpp"

#include <sys/mman.h>

#include "runrig/sync/error.hpp"

namespace runrig {

// Plain mmap, and not Boost.Interprocess' mapped_region: that would cost each mapping an allocation to keep Boost out
// of this header, and its exceptions have less to say than errno.
Mapping Mapping::map(int fd, std::size_t offset_bytes, std::size_t size_bytes, Access access, std::string_view name) {
  const int protection = access == Access::read_write ? PROT_READ | PROT_WRITE : PROT_READ;
  // MAP_NORESERVE: a sparse file larger than memory may be laid out; whoever wants its pages for sure reserves them.
  void* const address =
      ::mmap(nullptr, size_bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, static_cast<off_t>(offset_bytes));
  if (address == MAP_FAILED) check_errno(-1, "map " + std::to_string(size_bytes) + " bytes of", name);
  Mapping mapping;
  mapping.data_ = static_cast<std::byte*>(address);
  mapping.size_bytes_ = size_bytes;
  mapping.access_ = access;
  return mapping;
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    data_ = std::exchange(other.data_, nullptr);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
    access_ = other.access_;
  }
  return *this;
}

void Mapping::reset() noexcept {
  // Cannot fail: the range is what mmap gave us.
  if (data_ != nullptr) ::munmap(data_, size_bytes_);
  data_ = nullptr;
  size_bytes_ = 0;
}

}  // namespace runrig
