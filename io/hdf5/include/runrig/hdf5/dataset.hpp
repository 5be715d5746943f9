#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runrig/hdf5/file.hpp"
#include "runrig/hdf5/selection.hpp"

namespace runrig::hdf5 {

struct ReadOptions {
  /// Every element through H5Dread, none through our own decoders; the same values.
  bool force_library = false;
  /// Decoded chunks kept, so that boxes which cut chunks do not decode them again. 0: only the last one used.
  std::size_t cache_bytes = std::size_t{16} << 20;
  /// Chunks that decode to more are refused before memory is allocated (FormatError with the numbers).
  std::size_t max_chunk_bytes = std::size_t{1} << 30;
  /// Numbers by netCDF's conventions instead of elements as they are stored. Missing ones are NaN: those equal to
  /// `_FillValue` or to one of `missing_value` (an attribute is first made the elements' type; a value that this does
  /// not have is no element's), those outside of `valid_range`, or of `valid_min` and `valid_max`, and, in floats whose
  /// fill value is netCDF's default one and that have no `_FillValue`, those equal to it. Then `scale_factor` is
  /// multiplied and `add_offset` added. `_Unsigned` changes the sign that integers are read with, or not ("true",
  /// "false").
  ///
  /// info().type is then what the numbers have. With factors: float32 if both are float32 and the elements are 8 or 16
  /// bits wide or float32, else float64 (NumPy's promotion, for which integer factors are float64). Without factors,
  /// but with something to mask: floats stay, integers of 8 or 16 bits become float32, others float64. With neither: as
  /// stored. Limits whose type is that of the factors, while elements are integers, are about unpacked numbers.
  /// Booleans are left as they are. With `as_stored` nothing of this is done.
  bool conventions = false;
  /// Elements of any type of fixed size, as they are stored, not converted: info() then describes each as one item of
  /// info().type.item_bytes bytes, and info().fill is one.
  bool as_stored = false;
  /// Virtual datasets: absent sources give fill values instead of an error.
  bool fill_absent_sources = false;
};

/// A dataset, open for reading. Needs its File to live (it may be moved). Move-only.
class Dataset {
 public:
  /// Opens `path`, following soft and external links. Throws FormatError: nothing of that name, not a dataset, a shape
  /// or chunk shape that cannot be. A dataset that is not numeric opens; only read() refuses it.
  [[nodiscard]] static Dataset open(const File& file, const std::string& path, const ReadOptions& options = {});
  Dataset(Dataset&&) noexcept;
  Dataset& operator=(Dataset&&) noexcept;
  ~Dataset();

  [[nodiscard]] const DatasetInfo& info() const noexcept;
  /// "file.h5:/group/name", as messages have it.
  [[nodiscard]] const std::string& name() const noexcept;

  /// Throws FormatError, saying what to do, if read() could not: not numeric ("holds strings"), a filter that is not
  /// available, a chunk past ReadOptions::max_chunk_bytes, a virtual source that is absent.
  void check_readable() const;
  /// For what needs the elements on a line: throws as check_readable(), and FormatError if they are complex.
  void check_real() const;

  /// Reads `box` of the selection's result: `box` has the rank of selection.shape and lies inside it. `selection` was
  /// resolved against info().shape. Elements arrive as info().type.dtype in the machine's order; no alignment of
  /// `out` is needed. `strides` are bytes between neighbours along each axis of the result; empty: C-contiguous.
  ///
  /// Throws FormatError that names the dataset (and the chunk) if what is stored is damaged: then what `out` holds
  /// is undefined. std::logic_error for a box or strides that do not fit.
  void read(const Selection& selection, const Box& box, std::byte* out, std::span<const std::ptrdiff_t> strides = {});

  /// The elements of `box`, as read() would give them, where they lie in the file as they would in memory: contiguous,
  /// aligned, in the machine's byte order, in no chunks. They are mapped then, shared with whoever writes the file, for
  /// as long as the result lives, if this object does or not. nullptr where read() is to be used. Throws as read()
  /// does.
  [[nodiscard]] std::shared_ptr<const std::byte> in_place(const Selection& selection, const Box& box);

  /// False if `box` of the dataset lies in chunks that were never written, so that all of it is info().fill. True where
  /// that would take long to find out.
  [[nodiscard]] bool is_stored(const Box& box) const;

  /// True if nothing was ever written: every element is info().fill, and reading it is a matter of memory only. Cheap
  /// for contiguous data; for chunks it looks through the index.
  [[nodiscard]] bool all_fill() const;

  /// The first coordinates of every chunk that is stored, in no order, if there are at most `max_chunks` of them; none
  /// if there are more, or the data is not chunked. Takes time quadratic in their number (HDF5 1.10's index), so ask
  /// for few.
  [[nodiscard]] std::optional<std::vector<Shape>> stored_chunks(std::size_t max_chunks) const;

 private:
  class Impl;
  explicit Dataset(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A cover of a selection's result by boxes, in C order of the boxes, none of them overlapping: each of about
/// `target_bytes` in memory (more only where a single chunk is larger), cut at the borders of chunks, so that no chunk
/// belongs to two. Depends on its arguments only. Boxes are computed when asked for: the plan of a huge array is small.
/// Plain computing: the HDF5 library is not called.
class BoxPlan {
 public:
  /// Throws Error value_too_large where an axis would be cut into more than four million parts.
  BoxPlan(const DatasetInfo& info, const Selection& selection, std::uint64_t target_bytes);
  /// 0 if the result has no elements; 1 for a scalar.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  [[nodiscard]] Box operator[](std::uint64_t index) const;

 private:
  std::vector<std::vector<std::uint64_t>> cuts_;  // per axis: 0, ..., extent
  std::uint64_t size_ = 0;
};
/// All boxes of the plan at once.
[[nodiscard]] std::vector<Box> aligned_boxes(const DatasetInfo& info, const Selection& selection,
                                             std::uint64_t target_bytes);

}  // namespace runrig::hdf5
