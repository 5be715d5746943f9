#pragma once

#include <hdf5.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runrig/shm/dtype.hpp"
#include "runrig/shm/shape.hpp"
#include "runrig/sync/error.hpp"

/// The HDF5 library behind thin checked calls. Private to this room.
namespace runrig::hdf5::detail {

/// Initialises the library once, and silences its printing in the calling thread (error stacks are per thread).
void start_library();

/// One HDF5 identifier, released at the end. Not for files that are written: their close can fail and must be seen.
class Id {
 public:
  Id() noexcept = default;
  explicit Id(hid_t id) noexcept : id_(id) {}
  Id(Id&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}
  Id& operator=(Id&& other) noexcept {
    if (this != &other) {
      reset();
      id_ = std::exchange(other.id_, H5I_INVALID_HID);
    }
    return *this;
  }
  Id(const Id&) = delete;
  Id& operator=(const Id&) = delete;
  ~Id() { reset(); }

  [[nodiscard]] hid_t get() const noexcept { return id_; }
  [[nodiscard]] explicit operator bool() const noexcept { return id_ >= 0; }
  void reset() noexcept;
  /// Gives ownership away, for a close whose failure is looked at.
  [[nodiscard]] hid_t release() noexcept { return std::exchange(id_, H5I_INVALID_HID); }

 private:
  hid_t id_ = H5I_INVALID_HID;
};

/// The innermost entry of the library's error stack, which says most, as one printable line. Clears the stack.
[[nodiscard]] std::string last_reason();
/// `text` on one line: control characters as \xNN, cut at `limit` bytes. What a file says may hold anything.
[[nodiscard]] std::string printable(std::string_view text, std::size_t limit = 400);

/// Throws FormatError with last_reason().
[[noreturn]] void fail(std::string_view attempted, std::string_view name);

inline Id checked(hid_t id, std::string_view attempted, std::string_view name) {
  if (id < 0) fail(attempted, name);
  return Id(id);
}
/// For herr_t, htri_t, ssize_t and the counts that are negative on failure.
template <class Integer>
Integer check(Integer result, std::string_view attempted, std::string_view name) {
  if (result < 0) fail(attempted, name);
  return result;
}

/// Shapes and coordinates in the library's type, which is as wide as ours but another one to C++.
using Coordinates = std::array<hsize_t, max_rank>;
[[nodiscard]] inline Coordinates to_coordinates(const Shape& shape) {
  Coordinates coordinates{};
  std::copy(shape.begin(), shape.end(), coordinates.begin());
  return coordinates;
}
[[nodiscard]] inline Shape to_shape(const Coordinates& coordinates, std::size_t rank) {
  std::array<std::uint64_t, max_rank> extents{};
  std::copy_n(coordinates.begin(), rank, extents.begin());
  return Shape(std::span(std::as_const(extents)).first(rank));
}

/// The library's type for elements in memory; for booleans a byte.
[[nodiscard]] Id memory_type(DType dtype);
/// The stored form of our own outputs: `memory_type` in either byte order, booleans as h5py's enum, complex numbers as
/// its compound.
[[nodiscard]] Id file_type(DType dtype, bool big_endian);

}  // namespace runrig::hdf5::detail
