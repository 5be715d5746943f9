#include <hdf5.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "runrig/hdf5/codec.hpp"
#include "runrig/hdf5/output.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::hdf5 {
namespace {

constexpr std::size_t max_chunk_bytes = std::size_t{1} << 30;
constexpr std::size_t natural_chunk_bytes = std::size_t{1} << 20;

/// Why a filter of the source is not kept; empty if it is.
std::string reason_to_drop(const FilterInfo& filter, const DatasetInfo& source, DType dtype, std::uint64_t elements) {
  if (!filter.encodable) return "cannot be encoded here";
  switch (filter.id) {
    case H5Z_FILTER_SZIP: {
      const bool fits = filter.parameters.size() >= 2 && filter.parameters[1] <= elements;
      return fits && item_bytes(dtype) <= 4 ? "" : "does not take chunks of this type and size";
    }
    case H5Z_FILTER_NBIT:
      return source.type.dtype == dtype ? "" : "is made for the source's type";
    case H5Z_FILTER_SCALEOFFSET: {
      // Parameters: kind of scale (2: integers), bits to keep (0: as many as needed).
      const bool lossless = filter.parameters.size() >= 2 && filter.parameters[0] == 2 && filter.parameters[1] == 0;
      return lossless && !is_floating(dtype) && !is_complex(dtype) && dtype != DType::boolean ? ""
                                                                                              : "would lose digits";
    }
    default:
      return is_native_pipeline(std::span(&filter, 1)) ? "" : "is not known to keep every digit";
  }
}

void plan_filters(const DatasetInfo& source, OutputSpec& spec, std::vector<std::string>& notes) {
  const std::uint64_t elements = spec.chunk.elements();
  std::string dropped;
  for (const FilterInfo& filter : source.filters) {
    const std::string reason = reason_to_drop(filter, source, spec.dtype, elements);
    if (!reason.empty()) dropped += (dropped.empty() ? "" : ", ") + filter.name + " " + reason;
  }
  if (dropped.empty()) {
    spec.filters = source.filters;
    spec.library_filters = !is_native_pipeline(spec.filters);
    return;
  }
  notes.push_back("the output is written with shuffle and deflate-4: the source's filter " + dropped);
  spec.filters = {shuffle_filter(), deflate_filter(4)};
  const bool checksum =
      std::ranges::find(source.filters, H5Z_FILTER_FLETCHER32, &FilterInfo::id) != source.filters.end();
  if (checksum) spec.filters.push_back(fletcher32_filter());
}

void plan_chunks(const DatasetInfo& source, const Selection& selection, OutputSpec& spec) {
  for (std::size_t axis = 0; axis < selection.rank; ++axis) {
    if (!selection.axes[axis].keep) continue;
    const std::uint64_t extent = selection.axes[axis].count;
    const bool all = extent == source.shape[axis];
    const bool grows = source.maxshape[axis] == unlimited;
    spec.maxshape.push_back(grows ? unlimited : all ? source.maxshape[axis] : extent);
    // A fixed axis cannot have chunks longer than itself.
    const std::uint64_t most =
        grows ? source.chunk[axis] : std::max<std::uint64_t>(1, spec.maxshape[spec.maxshape.rank() - 1]);
    spec.chunk.push_back(std::min(source.chunk[axis], most));
  }
}

/// HDF5 takes chunks of less than 4 GiB, and readers do not like those: the longest axes are halved until they fit.
void bound_chunk(OutputSpec& spec) {
  while (spec.chunk.checked_bytes(item_bytes(spec.dtype)).value_or(SIZE_MAX) > max_chunk_bytes) {
    std::size_t longest = 0;
    for (std::size_t axis = 1; axis < spec.chunk.rank(); ++axis) {
      if (spec.chunk[axis] > spec.chunk[longest]) longest = axis;
    }
    spec.chunk[longest] = (spec.chunk[longest] + 1) / 2;
  }
}

void apply_chunks(const StorageOptions& storage, OutputSpec& spec) {
  const Shape& shape = spec.shape;
  if (storage.chunks == StorageOptions::Chunks::given) {
    if (storage.chunk.rank() != shape.rank()) {
      throw FormatError("use the chunk shape", to_string(storage.chunk),
                        "the result of shape " + to_string(shape) + " has another number of axes");
    }
    spec.chunk = storage.chunk;
  } else if (storage.chunks == StorageOptions::Chunks::automatic ||
             (spec.chunk.rank() == 0 && storage.filters && !storage.filters->empty())) {
    spec.chunk = natural_chunk(shape, item_bytes(spec.dtype));
  }
  for (std::size_t axis = 0; axis < spec.chunk.rank(); ++axis) {
    const bool grows = spec.maxshape.rank() > 0 && spec.maxshape[axis] == unlimited;
    const std::uint64_t most = spec.maxshape.rank() > 0 ? spec.maxshape[axis] : shape[axis];
    // A fixed axis cannot have chunks longer than itself.
    if (!grows) spec.chunk[axis] = std::min(spec.chunk[axis], std::max<std::uint64_t>(1, most));
  }
}

std::vector<std::byte> not_a_number(DType dtype) {
  std::vector<std::byte> bytes(item_bytes(dtype));
  visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, half> || std::is_floating_point_v<T>) {
      const T nan(std::numeric_limits<float>::quiet_NaN());
      std::memcpy(bytes.data(), &nan, sizeof nan);
    }
  });
  return bytes;
}

}  // namespace

Shape natural_chunk(const Shape& shape, std::size_t item_bytes) {
  Shape chunk = shape;
  for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
    chunk[axis] = std::max<std::uint64_t>(chunk[axis], 1);
    while (chunk[axis] > 1 && chunk.checked_bytes(item_bytes).value_or(SIZE_MAX) > natural_chunk_bytes) {
      chunk[axis] = (chunk[axis] + 1) / 2;
    }
  }
  return chunk;
}

OutputSpec output_like(const DatasetInfo& source, const Selection& selection, DType dtype,
                       std::vector<std::string>& notes, const StorageOptions& storage) {
  OutputSpec spec;
  spec.dtype = dtype;
  spec.null_space = source.null_space;
  spec.big_endian = source.type.big_endian && item_bytes(dtype) > 1;
  spec.shape = selection.shape;
  if (source.type.dtype == dtype && source.fill_defined) spec.fill = source.fill;
  if (source.unpacked) spec.dropped_attributes = {"_FillValue", "missing_value"};  // missing numbers are NaN
  if (source.masked && is_floating(dtype)) {
    spec.marks_missing = true;
    spec.fill = not_a_number(dtype);
  }
  if (selection.shape.rank() == 0 || source.null_space) return spec;
  const bool chunked = source.layout == Layout::chunked;
  if (chunked) plan_chunks(source, selection, spec);
  apply_chunks(storage, spec);
  bound_chunk(spec);
  if (spec.chunk.rank() == 0) return spec;
  if (storage.filters) {
    spec.filters = *storage.filters;
    spec.library_filters = !is_native_pipeline(spec.filters);
  } else if (chunked) {
    plan_filters(source, spec, notes);
  }
  return spec;
}

}  // namespace runrig::hdf5
