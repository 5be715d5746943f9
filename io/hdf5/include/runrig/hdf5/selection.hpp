#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/shm/shape.hpp"

/// NumPy's basic slicing, and how a dataset is named on a command line. Nothing here touches HDF5.
namespace runrig::hdf5 {

/// One entry between the brackets, as written.
struct AxisSpec {
  enum class Kind : std::uint8_t { slice, index, ellipsis };
  Kind kind = Kind::slice;
  std::int64_t index = 0;                         ///< Kind::index: negative counts from the end
  std::optional<std::int64_t> start, stop, step;  ///< Kind::slice: as in Python; step is never 0
};

/// A selection as written, not yet applied to a shape.
struct SelectionSpec {
  std::vector<AxisSpec> axes;
  std::string text;  ///< with its brackets, for messages
};

/// Parses "[0:100, :, ::2]": slices, integers, at most one "...". Throws FormatError that points at the column
/// (step zero, several "...", newaxis, index arrays, numbers past 64 bits, more than max_rank entries).
[[nodiscard]] SelectionSpec parse_selection(std::string_view text);

/// What is taken of one axis of a dataset: elements start, start + step, ..., `count` of them. If count is 0 the
/// others mean nothing; step may be negative; `keep` is false for an integer index, whose axis the result lacks.
struct AxisSelection {
  std::uint64_t start = 0;
  std::int64_t step = 1;
  std::uint64_t count = 0;
  bool keep = true;

  /// The coordinate in the dataset of element `i` of the selection.
  [[nodiscard]] constexpr std::uint64_t at(std::uint64_t i) const noexcept {
    // Wrapping arithmetic is exact here: the result lies inside the axis.
    return start + i * static_cast<std::uint64_t>(step);
  }
  friend bool operator==(const AxisSelection&, const AxisSelection&) = default;
};

/// A selection applied to a dataset's shape. A plain value of fixed size, fit for shared memory.
struct Selection {
  std::uint64_t rank = 0;  ///< axes of the dataset
  std::array<AxisSelection, max_rank> axes{};
  Shape shape;  ///< of the result: the counts of the kept axes

  /// Everything. Throws Error value_too_large for an extent past 2^63 - 1.
  [[nodiscard]] static Selection all(const Shape& dataset);
};

/// Applies `spec` to a dataset's shape as NumPy does: slices clip, an index out of range is an error. Throws
/// FormatError in words with the numbers in it; `name` is what it is about, e.g. "file.h5:/t".
[[nodiscard]] Selection resolve(const SelectionSpec& spec, const Shape& dataset, std::string_view name);
/// Everything if there is no spec.
[[nodiscard]] Selection resolve(const std::optional<SelectionSpec>& spec, const Shape& dataset, std::string_view name);

/// A range of an array's elements: along axis i, start[i] to start[i] + count[i].
struct Box {
  Shape start;
  Shape count;
  [[nodiscard]] static Box all(const Shape& shape);
  friend bool operator==(const Box&, const Box&) noexcept = default;
};

/// Where a dataset is, as written on a command line:
///
///     PATH            /group/temperature          in the file at hand; a leading slash may be left out
///     PATH[SEL]       temperature[0:100, :, ::2]
///     FILE:/PATH[SEL] other.h5:/group/t[0]        the part after the colon starts with a slash
///
/// A "[" begins the selection, and the first ":/" before it ends the file's name. Where these are part of a name
/// they are quoted: a backslash takes the next character as it is, and so do single or double quotes for what is
/// between them: 'a[0]'[1:2], "10:/x.h5":/y, a\[0\]. Inside double quotes a backslash still does, inside single ones
/// not.
struct DatasetRef {
  std::optional<std::string> file;
  std::string path;  ///< always absolute; "/" + what was written, if need be
  std::optional<SelectionSpec> selection;
};
/// Throws FormatError that says what is wrong and where: an empty name, an unclosed quote or bracket, text behind "]".
[[nodiscard]] DatasetRef parse_dataset_ref(std::string_view text);

/// NAME=REF, or only REF: then the name is the path's last part, if that is an identifier (else FormatError).
struct NamedDatasetRef {
  std::string name;  ///< letters, digits, "_"; not a digit first
  DatasetRef dataset;
};
[[nodiscard]] NamedDatasetRef parse_named_dataset_ref(std::string_view text);

}  // namespace runrig::hdf5
