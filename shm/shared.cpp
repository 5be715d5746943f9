#include "runrig/shm/shared.hpp"

#include <stdexcept>
#include <string>

#include "runrig/shm/array.hpp"
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

void check_same_count(std::uint64_t given, std::uint64_t selected) {
  if (given != selected) {
    throw std::invalid_argument("assign " + std::to_string(given) + " values to a slice of " +
                                std::to_string(selected) + " elements");
  }
}

void check_text_fits(std::size_t text_bytes, std::size_t array_bytes) {
  if (text_bytes > array_bytes) {
    throw std::length_error("write " + std::to_string(text_bytes) + " characters to an array of " +
                            std::to_string(array_bytes));
  }
}

}  // namespace runrig::detail
