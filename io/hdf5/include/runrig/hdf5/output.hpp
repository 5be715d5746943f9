#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runrig/hdf5/dataset.hpp"

namespace runrig::hdf5 {

/// What a dataset to be written is.
struct OutputSpec {
  DType dtype = DType::float64;  ///< boolean becomes h5py's enum of FALSE and TRUE, complex numbers its compound
  bool big_endian = false;       ///< stored most significant byte first
  Shape shape{};
  Shape maxshape{};  ///< no axes: as shape
  Shape chunk{};     ///< no axes: contiguous
  std::vector<FilterInfo> filters{};
  /// None: encode chunks with ChunkEncoder and place them by write_chunk(). Else the library encodes: write() only.
  bool library_filters = false;
  std::optional<std::vector<std::byte>> fill{};  ///< item_bytes(dtype) bytes, the machine's order
  bool null_space = false;                       ///< no elements and no shape
  /// If `fill` is NaN, netCDF's attribute `_FillValue` says so.
  bool marks_missing = false;
  /// Attributes of its source that would lie of it, besides those that copy_attributes() leaves out by itself.
  std::vector<std::string> dropped_attributes{};
};

/// What a ChunkEncoder of it is told: the bytes of the numbers that are stored the other way round than the machine has
/// them, 0 for none.
[[nodiscard]] inline std::size_t swapped_bytes(const OutputSpec& spec) noexcept {
  return spec.big_endian ? item_bytes(part_dtype(spec.dtype)) : 0;
}

/// How a dataset is to be stored where that is not to be as its source is.
struct StorageOptions {
  enum class Chunks : std::uint8_t { keep, automatic, given };
  /// None: the source's. Filters on a contiguous source make it chunked.
  std::optional<std::vector<FilterInfo>> filters{};
  Chunks chunks = Chunks::keep;
  Shape chunk{};  ///< Chunks::given: of the result's axes
};

/// A chunk shape of about 1 MiB, whole along the fastest axes. No 0 in it.
[[nodiscard]] Shape natural_chunk(const Shape& shape, std::size_t item_bytes);

/// The output for a result that keeps what it can of its source: chunk shape, unlimited axes, byte order and filters,
/// unless `storage` says otherwise. Filters that would lose digits or cannot be encoded here are replaced by shuffle
/// and deflate-4, and `notes` says so. The fill value is kept if the dtype is; else there is none. Throws FormatError
/// for a chunk shape of another number of axes. Plain computing: the HDF5 library is not called.
[[nodiscard]] OutputSpec output_like(const DatasetInfo& source, const Selection& selection, DType dtype,
                                     std::vector<std::string>& notes, const StorageOptions& storage = {});

/// A file being written, by one process and one thread; the default (oldest) format version, so that what was flushed
/// is readable after a crash. The destructor closes without a check: what it leaves is not a finished file.
class OutputFile {
 public:
  /// Where the file is made: on the disk, or in memory that close() writes in one go, which for a small file costs
  /// half.
  enum class Place : std::uint8_t { disk, memory };
  /// Creates `path`, which must not exist. Throws Error: file_exists, no_such_file_or_directory, permission_denied,
  /// no_space_on_device.
  [[nodiscard]] static OutputFile create(const std::string& path, Place place = Place::disk);
  /// The same, in the format that `source` has, with its user block and the properties of its root.
  [[nodiscard]] static OutputFile create_like(const std::string& path, const File& source, Place place = Place::disk);
  OutputFile(OutputFile&&) noexcept;
  OutputFile& operator=(OutputFile&&) noexcept;
  ~OutputFile();

  /// Makes a dataset, and the groups above it. A contiguous one is allocated at once and returns where its elements
  /// lie, in bytes from the start of the file: after close() others may write there (stored order). None for chunks,
  /// and where there are no elements. Throws FormatError: exists already, or what the library refuses.
  std::optional<std::uint64_t> create_dataset(const std::string& path, const OutputSpec& spec);

  /// Whether the library encodes the dataset's chunks: OutputSpec::library_filters.
  [[nodiscard]] bool encodes(const std::string& path) const;
  /// Places one encoded chunk; `chunk_start` are its first element's coordinates, multiples of the chunk shape.
  void write_chunk(const std::string& path, const Shape& chunk_start, std::uint32_t filter_mask,
                   std::span<const std::byte> bytes);
  /// Writes a box through the library; `values` C-contiguous, the machine's order. Any layout; no axes for scalars.
  void write(const std::string& path, const Box& box, std::span<const std::byte> values);

  /// Copies the attributes of `source_object` ("/" and any object), in their order, to `object` here.
  /// `result` set: the elements are no longer the source's; attributes that would lie are left out: scale_factor,
  /// add_offset, valid_range, valid_min, valid_max, actual_range, _Unsigned always, _FillValue and missing_value unless
  /// of its type, nor OutputSpec::dropped_attributes. Left out as well, and rebuilt by copy_dimension_scales():
  /// DIMENSION_LIST, REFERENCE_LIST, CLASS, NAME and netCDF's own numbering. `notes` gets a line for each that could
  /// not be copied (references, damaged ones).
  void copy_attributes(const File& source, const std::string& source_object, const std::string& object,
                       std::optional<DType> result, std::vector<std::string>& notes);

  /// Gives `object` an attribute, a UTF-8 string; there must be none of that name.
  void set_attribute(const std::string& object, const std::string& name, std::string_view text);

  /// Copies the dimension scales attached to the source's axes, cut as `selection` cuts the axes, under their names
  /// into this file and attaches them to `dataset`. Scales of dropped axes are left out. `notes` as above.
  void copy_dimension_scales(const File& source, const std::string& source_dataset, const Selection& selection,
                             const std::string& dataset, std::vector<std::string>& notes);

  /// Whether close() syncs, or its caller: by fsync() of the path, or by syncfs() for many files at once. The system
  /// tells either what has become of the bytes.
  enum class Sync : std::uint8_t { now, by_caller };
  /// Closes and syncs; every failure on the way is thrown. The file is complete (a contiguous dataset but for
  /// what others write) and no longer locked.
  void close(Sync sync = Sync::now);

  struct State;
  [[nodiscard]] State& state() noexcept { return *state_; }  ///< for this room only

 private:
  // hid_t is an std::int64_t; its header stays in this room's sources.
  static OutputFile create_with(const std::string& path, std::int64_t creation, std::int64_t access, Place place);
  explicit OutputFile(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace runrig::hdf5
