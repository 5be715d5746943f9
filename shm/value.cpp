#include "runrig/shm/value.hpp"

#include <string>

#include "runrig/sync/error.hpp"

namespace runrig::detail {

std::size_t block_bytes(std::size_t count, std::size_t item_bytes) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, item_bytes, &bytes)) {
    throw Error(std::errc::not_enough_memory, "make an array of elements", std::to_string(count));
  }
  return bytes;
}

void check_block(const BlockHandle& handle, std::size_t bytes) {
  if (handle.bytes != bytes) {
    throw std::logic_error("attach " + std::to_string(bytes) + " bytes to a heap block of " +
                           std::to_string(handle.bytes));
  }
}

void check_index(std::size_t index, std::size_t size) {
  if (index >= size) {
    throw std::out_of_range("index " + std::to_string(index) + " of " + std::to_string(size) + " elements");
  }
}

}  // namespace runrig::detail
