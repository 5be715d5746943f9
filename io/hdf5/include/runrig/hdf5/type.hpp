#pragma once

#include <cstddef>
#include <string>

#include "runrig/shm/dtype.hpp"

namespace runrig::hdf5 {

/// What the elements of a dataset or attribute are: as stored, as NumPy (h5py) sees them, and as we hold them.
struct StoredType {
  /// Whether we can read the elements: integers, floats, bitfields (as unsigned integers) and enums (as their
  /// integers; h5py's enum of FALSE and TRUE as booleans), and h5py's complex numbers (a compound of two floats "r" and
  /// "i"). All fields but the last three are only set if so.
  bool numeric = false;
  /// In memory, in the machine's byte order. Where none of ours has the stored layout (24-bit integers, 80-bit
  /// floats, bfloat16), the nearest that holds it, else float64.
  DType dtype = DType::float64;
  /// Stored in the byte order that is not this machine's.
  bool swapped = false;
  /// Most significant byte first; false for single bytes.
  bool big_endian = false;
  /// The stored bytes are those of `dtype`, apart from the order: no conversion by the library is needed.
  bool direct = false;
  /// Bytes of a stored element.
  std::size_t item_bytes = 0;
  /// h5py's dtype.str: "<f4", ">i2", "|b1", "|S22", "|V12"; "|O" for variable-length strings, references, ...
  std::string numpy;
  /// In words, for people: "float32", "big-endian int16", "string", "compound", ...
  std::string description;
};

}  // namespace runrig::hdf5
