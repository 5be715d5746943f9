#include <algorithm>
#include <vector>

#include "chunk_cache.hpp"
#include "reader.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/hdf5/strided_copy.hpp"

namespace runrig::hdf5::detail {
namespace {

// Asking for an absent chunk costs a few microseconds, listing n chunks that exist a few times n squared nanoseconds.
constexpr std::uint64_t misses_before_listing = 1024;
constexpr hsize_t most_listed = 2048;

std::uint64_t stride_of(const AxisSelection& axis) {
  const auto step = static_cast<std::uint64_t>(axis.step);
  return axis.step > 0 ? step : 0 - step;
}

/// The elements of one axis of a request that lie in one chunk.
struct Segment {
  std::uint64_t first = 0;  // index within the request's axis
  std::uint64_t count = 0;
  std::uint64_t chunk_start = 0;  // coordinate in the dataset
  std::uint64_t offset = 0;       // of the first element within the chunk
};

/// The segment that begins at element `first`.
Segment segment_at(const AxisSelection& axis, std::uint64_t chunk, std::uint64_t first) {
  const std::uint64_t position = axis.at(first);
  const std::uint64_t offset = position % chunk;
  const std::uint64_t room = axis.step > 0 ? chunk - offset - 1 : offset;  // elements behind it in the chunk
  return {first, std::min(room / stride_of(axis) + 1, axis.count - first), position - offset, offset};
}

/// The segment in the chunk that begins at `chunk_start`; count 0 if none.
Segment segment_in(const AxisSelection& axis, std::uint64_t chunk, std::uint64_t chunk_start) {
  const std::uint64_t stride = stride_of(axis);
  std::uint64_t first = 0;
  if (axis.step > 0) {
    if (chunk_start > axis.start) first = (chunk_start - axis.start - 1) / stride + 1;
  } else {
    const std::uint64_t chunk_last = chunk_start + (chunk - 1);
    if (axis.start > chunk_last) first = (axis.start - chunk_last - 1) / stride + 1;
  }
  if (first >= axis.count || axis.at(first) / chunk != chunk_start / chunk) return {};
  return segment_at(axis, chunk, first);
}

using Segments = std::array<Segment, max_rank>;

class ChunkReader final : public Reader {
 public:
  explicit ChunkReader(const Source& source)
      : source_(source),
        chunk_bytes_(source.chunk_bytes()),
        conversion_(checked(H5Dget_type(source.dataset.get()), "read", source.name).get(), source.info.type,
                    source.name),
        decoder_(source.info.filters, source.info.type.item_bytes),
        chunk_strides_(contiguous_strides(source.info.chunk, source.info.type.item_bytes)),
        cache_(source.options.cache_bytes) {}

  void read(const Request& request) override {
    if (allocated_) {
      read_listed(request);
      return;
    }
    Segments segments;
    for (std::size_t axis = 0; axis < request.rank; ++axis) {
      segments[axis] = segment_at(request.axes[axis], source_.info.chunk[axis], 0);
    }
    do {
      read_chunk(request, segments);
      if (misses_ >= misses_before_listing && list_allocated()) {
        read_listed(request);  // what was read already is read again: a few chunks at most
        return;
      }
    } while (next_chunk(request, segments));
  }

 private:
  /// Steps to the next chunk of the request, the fastest axis first.
  bool next_chunk(const Request& request, Segments& segments) const {
    for (std::size_t axis = request.rank; axis-- > 0;) {
      const std::uint64_t next = segments[axis].first + segments[axis].count;
      const bool more = next < request.axes[axis].count;
      segments[axis] = segment_at(request.axes[axis], source_.info.chunk[axis], more ? next : 0);
      if (more) return true;
    }
    return false;
  }

  /// Fill values everywhere, then the few chunks that exist.
  void read_listed(const Request& request) {
    fill_box(request.out, request.counts(), request.out_strides(), source_.info.fill);
    for (const Shape& start : *allocated_) {
      Segments segments;
      bool touched = true;
      for (std::size_t axis = 0; axis < request.rank && touched; ++axis) {
        segments[axis] = segment_in(request.axes[axis], source_.info.chunk[axis], start[axis]);
        touched = segments[axis].count > 0;
      }
      if (touched) read_chunk(request, segments);
    }
  }

  /// Lists the chunks that exist, if they are few.
  bool list_allocated() {
    misses_ = 0;
    if (tried_listing_) return false;
    tried_listing_ = true;
    const Id space = checked(H5Dget_space(source_.dataset.get()), "read", source_.name);
    hsize_t count = 0;
    check(H5Dget_num_chunks(source_.dataset.get(), space.get(), &count), "list chunks of", source_.name);
    if (count > most_listed) return false;
    std::vector<Shape> starts;
    for (hsize_t i = 0; i < count; ++i) {
      Coordinates start{};
      unsigned mask = 0;
      haddr_t address = HADDR_UNDEF;
      hsize_t bytes = 0;
      check(H5Dget_chunk_info(source_.dataset.get(), space.get(), i, start.data(), &mask, &address, &bytes),
            "list chunks of", source_.name);
      if (address != HADDR_UNDEF) starts.push_back(to_shape(start, source_.info.chunk.rank()));
    }
    allocated_ = std::move(starts);
    return true;
  }

  void read_chunk(const Request& request, const Segments& segments) {
    std::array<std::uint64_t, max_rank> starts{};
    StridedCopy copy;
    copy.count = source_.info.chunk;
    copy.item_bytes = source_.info.type.item_bytes;
    copy.from_strides.resize(request.rank);
    copy.to_strides.assign(request.out_strides().begin(), request.out_strides().end());
    std::byte* to = request.out;
    std::ptrdiff_t from = 0;
    bool whole = true;
    for (std::size_t axis = 0; axis < request.rank; ++axis) {
      const Segment& segment = segments[axis];
      starts[axis] = segment.chunk_start;
      copy.count[axis] = segment.count;
      const std::ptrdiff_t step = segment.count == 1 ? 1 : request.axes[axis].step;
      copy.from_strides[axis] = step * chunk_strides_[axis];
      from += static_cast<std::ptrdiff_t>(segment.offset) * chunk_strides_[axis];
      to += static_cast<std::ptrdiff_t>(segment.first) * request.strides[axis];
      whole = whole && segment.count == source_.info.chunk[axis] && step == 1;
    }
    const Shape start(std::span(std::as_const(starts)).first(request.rank));
    const bool direct = whole && is_contiguous(copy.count, copy.to_strides, copy.item_bytes);
    const std::byte* decoded = direct ? decode_into(start, to) : decoded_chunk(start);
    if (decoded == nullptr) {
      fill_box(to, copy.count, copy.to_strides, source_.info.fill);
    } else if (decoded != to) {
      copy.run(decoded + from, to);
    }
  }

  /// The chunk's elements in the cache; nullptr if it does not exist.
  const std::byte* decoded_chunk(const Shape& start) {
    const std::uint64_t key = key_of(start);
    if (const auto* cached = cache_.find(key, start)) return cached->data();
    const auto stored = stored_bytes(start);
    if (!stored) return nullptr;
    std::vector<std::byte>& room = cache_.insert(key, start, chunk_bytes_);
    try {
      load(start, *stored, room);
    } catch (...) {
      cache_.drop_newest();
      throw;
    }
    return room.data();
  }

  /// The chunk's elements at `to`, or where the cache has them; nullptr if it does not exist.
  const std::byte* decode_into(const Shape& start, std::byte* to) {
    if (const auto* cached = cache_.find(key_of(start), start)) return cached->data();
    const auto stored = stored_bytes(start);
    if (!stored) return nullptr;
    load(start, *stored, {to, chunk_bytes_});
    return to;
  }

  /// Bytes that the file holds for a chunk; none if it does not exist.
  std::optional<std::size_t> stored_bytes(const Shape& start) {
    hsize_t bytes = 0;
    if (H5Dget_chunk_storage_size(source_.dataset.get(), to_coordinates(start).data(), &bytes) < 0) {
      const std::string reason = last_reason();
      // The one failure that is none: a dataset with chunks, but not this one. Without any it succeeds, with 0.
      if (reason.find("chunk storage is not allocated") == std::string::npos) {
        throw FormatError("find chunk", chunk_name(start), reason);
      }
      bytes = 0;
    }
    if (bytes == 0 || bytes == HSIZE_UNDEF) {
      ++misses_;
      return {};
    }
    // A size from the file: checked before memory is allocated by it. A compressor may expand a little.
    const std::uint64_t most = std::min<std::uint64_t>(source_.file->bytes, chunk_bytes_ + chunk_bytes_ / 8 + 4096);
    if (bytes > most) {
      throw FormatError("read chunk", chunk_name(start), std::to_string(bytes) + " stored bytes are more than can be");
    }
    return static_cast<std::size_t>(bytes);
  }

  void load(const Shape& start, std::size_t stored, std::span<std::byte> out) {
    const bool plain = source_.info.filters.empty();
    if (plain && stored != out.size()) {
      throw FormatError("read chunk", chunk_name(start),
                        std::to_string(stored) + " bytes are stored instead of " + std::to_string(out.size()));
    }
    if (!plain && stored_.size() < stored) stored_.resize(stored);
    std::uint32_t mask = 0;
    check(H5Dread_chunk(source_.dataset.get(), H5P_DEFAULT, to_coordinates(start).data(), &mask,
                        plain ? out.data() : stored_.data()),
          "read chunk", chunk_name(start));
    if (!plain) decoder_.decode(std::span(stored_).first(stored), mask, out, chunk_name(start));
    conversion_.convert(out.data(), out.size() / source_.info.type.item_bytes);
  }

  /// Linear index of the chunk, wrapping: any number will do as long as equal chunks have equal ones.
  [[nodiscard]] std::uint64_t key_of(const Shape& start) const {
    std::uint64_t key = 0;
    for (std::size_t axis = 0; axis < start.rank(); ++axis) {
      const std::uint64_t chunks = (source_.info.shape[axis] - 1) / source_.info.chunk[axis] + 1;
      key = key * chunks + start[axis] / source_.info.chunk[axis];
    }
    return key;
  }
  [[nodiscard]] std::string chunk_name(const Shape& start) const { return source_.name + " at " + to_string(start); }

  const Source& source_;
  std::size_t chunk_bytes_;
  ElementConversion conversion_;
  ChunkDecoder decoder_;
  std::vector<std::ptrdiff_t> chunk_strides_;
  ChunkCache cache_;
  std::vector<std::byte> stored_;
  std::uint64_t misses_ = 0;
  bool tried_listing_ = false;
  std::optional<std::vector<Shape>> allocated_;
};

}  // namespace

std::unique_ptr<Reader> make_chunk_reader(const Source& source) { return std::make_unique<ChunkReader>(source); }

}  // namespace runrig::hdf5::detail
