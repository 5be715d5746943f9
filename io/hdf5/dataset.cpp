#include "runrig/hdf5/dataset.hpp"

#include <algorithm>
#include <stdexcept>

#include "conventions.hpp"
#include "dataset_info.hpp"
#include "reader.hpp"
#include "runrig/hdf5/codec.hpp"
#include "runrig/hdf5/strided_copy.hpp"
#include "value_copy.hpp"

namespace runrig::hdf5 {
namespace detail {

Shape Request::counts() const {
  std::array<std::uint64_t, max_rank> counts{};
  for (std::size_t axis = 0; axis < rank; ++axis) counts[axis] = axes[axis].count;
  return Shape(std::span(std::as_const(counts)).first(rank));
}

std::size_t Source::chunk_bytes() const {
  const auto bytes = info.chunk.checked_bytes(info.type.item_bytes);
  if (bytes && *bytes <= options.max_chunk_bytes) return *bytes;
  throw FormatError("read", name,
                    "its chunks of " + to_string(info.chunk) + " elements are larger than the limit of " +
                        std::to_string(options.max_chunk_bytes) + " bytes");
}

}  // namespace detail

namespace {

/// Whether elements can be had without the library's own conversion and filters.
bool is_native(const DatasetInfo& info) {
  if (!info.type.direct) return false;
  if (info.layout == Layout::contiguous) return true;
  return info.layout == Layout::chunked && !info.partial_chunks_unfiltered && is_native_pipeline(info.filters);
}

/// A closer look for what is not there: an object of another kind, or nothing.
[[noreturn]] void explain_failed_open(hid_t file, const std::string& path, const std::string& name) {
  const std::string reason = detail::last_reason();
  const detail::Id object(H5Oopen(file, path.c_str(), H5P_DEFAULT));
  const H5I_type_t type = object ? H5Iget_type(object.get()) : H5I_BADID;
  H5Eclear2(H5E_DEFAULT);
  if (type == H5I_GROUP) throw FormatError("open dataset", name, "it is a group");
  if (type == H5I_DATATYPE) throw FormatError("open dataset", name, "it is a named type");
  if (reason.find("component not found") != std::string::npos || reason.find("doesn't exist") != std::string::npos) {
    throw FormatError("open dataset", name, "there is none of that name (runrig info lists those there are)");
  }
  throw FormatError("open dataset", name, reason);
}

void check_box(const DatasetInfo& info, const Selection& selection, const Box& box, std::size_t strides) {
  const std::size_t kept = selection.shape.rank();
  if (selection.rank != info.shape.rank() || box.start.rank() != kept || box.count.rank() != kept ||
      (strides != 0 && strides != kept)) {
    throw std::logic_error("Dataset::read: the selection, box or strides have another number of axes");
  }
  for (std::size_t axis = 0; axis < selection.rank; ++axis) {
    const AxisSelection& range = selection.axes[axis];
    if (range.count == 0) continue;
    const std::uint64_t extent = info.shape[axis];
    if (range.start >= extent || range.at(range.count - 1) >= extent) {
      throw std::logic_error("Dataset::read: the selection was made for another shape");
    }
  }
  for (std::size_t axis = 0; axis < kept; ++axis) {
    if (box.start[axis] > selection.shape[axis] || box.count[axis] > selection.shape[axis] - box.start[axis]) {
      throw std::logic_error("Dataset::read: the box reaches outside the selection");
    }
  }
}

detail::Id chunk_cache_properties(std::size_t bytes, const std::string& name) {
  detail::Id properties = detail::checked(H5Pcreate(H5P_DATASET_ACCESS), "open dataset", name);
  detail::check(H5Pset_chunk_cache(properties.get(), 521, bytes, 1.0), "open dataset", name);
  return properties;
}

/// Our own path keeps chunks itself, and gives the library no room for any.
hid_t no_chunk_cache(const std::string& name) {
  static const hid_t properties = chunk_cache_properties(0, name).release();  // as long as the library
  return properties;
}

/// The library's path needs room for a whole chunk, or it decodes it for every row.
std::size_t library_cache_bytes(const DatasetInfo& info, const ReadOptions& options) {
  const auto chunk = info.chunk.checked_bytes(info.type.item_bytes);
  return chunk && *chunk <= options.max_chunk_bytes ? std::max(options.cache_bytes, 2 * *chunk) : options.cache_bytes;
}

}  // namespace

class Dataset::Impl {
 public:
  Impl(const File& file, const std::string& path, const ReadOptions& options) {
    const hid_t id = file.state().file.get();
    source_.file = &file.state();
    source_.file_path = file.path();
    source_.name = detail::object_name(file, path);
    source_.options = options;
    const auto open = [&](hid_t access) {
      detail::Id dataset(H5Dopen2(id, path.c_str(), access));
      if (!dataset) explain_failed_open(id, path, source_.name);
      return dataset;
    };
    source_.dataset = open(no_chunk_cache(source_.name));
    follow_into_other_file(id);
    source_.info = detail::describe_dataset(source_.dataset.get(), source_.name, detail::StoredBytes::leave_out);
    if (options.as_stored) describe_as_stored();
    if (options.conventions && !options.as_stored) {
      unpacking_ = detail::find_unpacking(source_.dataset.get(), source_.info, source_.name);
    }
    native_ = !options.force_library && is_native(source_.info);
    if (native_ || source_.info.layout != Layout::chunked) return;
    // Opened again with a cache that fits: how large a chunk is was not known before. While a dataset is open, opening
    // it once more shares its cache, so the first one goes first.
    const detail::Id access = chunk_cache_properties(library_cache_bytes(source_.info, options), source_.name);
    source_.dataset.reset();
    source_.dataset = open(access.get());
  }

  void check_real() {
    check_readable();
    const DType dtype = source_.info.type.dtype;
    if (!is_complex(dtype)) return;
    throw FormatError(
        "reduce", source_.name,
        "its elements are " + std::string(dtype_name(dtype)) +
            ", which lie on no line; make real ones of them first: runrig map 'abs(x)' (or real, imag, angle)");
  }
  void check_readable() {
    const DatasetInfo& info = source_.info;
    if (!info.type.numeric) {
      throw FormatError("read", source_.name, "its elements are no numbers but of type " + info.type.description);
    }
    for (const FilterInfo& filter : info.filters) {
      if (filter.available) continue;
      const bool known = !filter.name.starts_with("filter ");  // else its name is its number
      throw FormatError("read", source_.name,
                        "it needs the filter " + filter.name +
                            (known ? " (number " + std::to_string(filter.id) + ")" : "") +
                            ", which is not installed here; put its plugin where the HDF5 library looks, or name its "
                            "folder in HDF5_PLUGIN_PATH");
    }
    if (info.layout == Layout::chunked) (void)source_.chunk_bytes();
    if (info.layout == Layout::virtual_sources && !source_.options.fill_absent_sources) {
      detail::check_virtual_sources(source_);
    }
  }

  std::shared_ptr<const std::byte> in_place(const Selection& selection, const Box& box) {
    check_box(source_.info, selection, box, 0);
    prepare_reader();
    if (reader_ == nullptr || never_stored() || box.count.checked_elements() == 0) return nullptr;
    return reader_->in_place(make_request(selection, box, nullptr, {}));
  }

  void read(const Selection& selection, const Box& box, std::byte* out, std::span<const std::ptrdiff_t> strides) {
    check_box(source_.info, selection, box, strides.size());
    prepare_reader();
    if (source_.info.null_space || std::ranges::find(box.count, std::uint64_t{0}) != box.count.end() ||
        std::ranges::find(selection.shape, std::uint64_t{0}) != selection.shape.end()) {
      return;
    }
    if (unpacking_) {
      read_unpacked(selection, box, out, strides);
    } else {
      read_elements(make_request(selection, box, out, strides));
    }
  }

  [[nodiscard]] const DatasetInfo& info() const { return unpacking_ ? unpacking_->info() : source_.info; }

 private:
  void read_elements(const detail::Request& request) {
    if (reader_ == nullptr || never_stored()) {
      detail::fill_box(request.out, request.counts(), request.out_strides(), source_.info.fill);
    } else {
      reader_->read(request);
    }
  }

  /// Packed elements are read behind one another, and unpacked from there.
  void read_unpacked(const Selection& selection, const Box& box, std::byte* out,
                     std::span<const std::ptrdiff_t> strides) {
    const auto count = static_cast<std::size_t>(box.count.elements());
    const std::size_t item = item_bytes(unpacking_->info().type.dtype);
    const bool dense = strides.empty() || detail::is_contiguous(box.count, strides, item);
    if (!dense && unpacked_.size() < count * item) unpacked_.resize(count * item);
    std::byte* const numbers = dense ? out : unpacked_.data();
    std::byte* const packed = numbers + count * (item - memory_item_bytes());
    read_elements(make_request(selection, box, packed, {}));
    unpacking_->unpack(packed, numbers, count);
    if (dense) return;
    detail::StridedCopy{box.count, detail::contiguous_strides(box.count, item), {strides.begin(), strides.end()}, item}
        .run(numbers, out);
  }

 public:
  [[nodiscard]] bool all_fill() const {
    const DatasetInfo& info = source_.info;
    if (info.layout == Layout::contiguous) return !info.file_offset;
    if (info.layout != Layout::chunked) return false;
    H5D_space_status_t status = H5D_SPACE_STATUS_ERROR;
    detail::check(H5Dget_space_status(source_.dataset.get(), &status), "read", source_.name);
    return status == H5D_SPACE_STATUS_NOT_ALLOCATED;
  }

  [[nodiscard]] std::optional<std::vector<Shape>> stored_chunks(std::size_t max_chunks) const {
    if (source_.info.layout != Layout::chunked) return std::nullopt;
    constexpr std::string_view attempt = "list the chunks of";
    const hid_t dataset = source_.dataset.get();
    const detail::Id space = detail::checked(H5Dget_space(dataset), attempt, source_.name);
    hsize_t count = 0;
    detail::check(H5Dget_num_chunks(dataset, space.get(), &count), attempt, source_.name);
    if (count > max_chunks) return std::nullopt;
    std::vector<Shape> starts;
    for (hsize_t i = 0; i < count; ++i) {
      std::array<hsize_t, max_rank> start{};
      unsigned mask = 0;
      haddr_t address = 0;
      hsize_t bytes = 0;
      detail::check(H5Dget_chunk_info(dataset, space.get(), i, start.data(), &mask, &address, &bytes), attempt,
                    source_.name);
      Shape& each = starts.emplace_back();
      for (std::size_t axis = 0; axis < source_.info.shape.rank(); ++axis) each.push_back(start[axis]);
    }
    return starts;
  }

  [[nodiscard]] bool is_stored(const Box& box) const {
    const DatasetInfo& info = source_.info;
    if (info.layout == Layout::contiguous) return !native_ || info.file_offset.has_value();
    if (info.layout != Layout::chunked || info.shape.rank() == 0) return true;
    constexpr std::uint64_t most_asked = 256;
    detail::Coordinates start{};
    std::uint64_t chunks = 1;
    for (std::size_t axis = 0; axis < info.shape.rank(); ++axis) {
      if (box.count[axis] == 0) return false;
      start[axis] = box.start[axis] / info.chunk[axis] * info.chunk[axis];
      chunks *= std::min<std::uint64_t>(most_asked + 1,
                                        (box.start[axis] + box.count[axis] - 1 - start[axis]) / info.chunk[axis] + 1);
      if (chunks > most_asked) return true;
    }
    detail::Coordinates at = start;
    for (std::uint64_t i = 0; i < chunks; ++i) {
      hsize_t bytes = 0;
      // Fails for a chunk that does not exist; whatever else it fails for, reading says.
      const bool found = H5Dget_chunk_storage_size(source_.dataset.get(), at.data(), &bytes) >= 0;
      const bool absent =
          found ? bytes == 0 : detail::last_reason().find("chunk storage is not allocated") != std::string::npos;
      if (!absent) return true;
      for (std::size_t axis = info.shape.rank(); axis-- > 0;) {
        at[axis] += info.chunk[axis];
        if (at[axis] < box.start[axis] + box.count[axis]) break;
        at[axis] = start[axis];
      }
    }
    return false;
  }

  [[nodiscard]] const detail::Source& source() const { return source_; }

 private:
  /// Elements become items of so many bytes, whatever they hold, which nothing converts.
  void describe_as_stored() {
    const detail::Id type = detail::checked(H5Dget_type(source_.dataset.get()), "open dataset", source_.name);
    const detail::TypeContent content = detail::content_of(type.get(), source_.name);
    if (content.variable || content.references) {
      throw FormatError("read", source_.name, "its elements have no fixed size, or refer to others");
    }
    StoredType& stored = source_.info.type;
    stored.numeric = true;
    stored.dtype = DType::uint8;
    stored.direct = true;
    stored.swapped = false;
    source_.info.fill = detail::stored_fill(source_.dataset.get(), type.get(), source_.name);
  }

  void prepare_reader() {
    if (reader_) return;
    check_readable();
    if (!source_.info.null_space) reader_ = make_reader();
  }

  [[nodiscard]] std::size_t memory_item_bytes() const {
    return source_.options.as_stored ? source_.info.type.item_bytes : item_bytes(source_.info.type.dtype);
  }

  /// An external link leads into another file: what is read without the library is read from that one.
  void follow_into_other_file(hid_t file) {
    H5O_info_t here;
    H5O_info_t there;
    detail::check(H5Oget_info2(file, &here, H5O_INFO_BASIC), "open dataset", source_.name);
    detail::check(H5Oget_info2(source_.dataset.get(), &there, H5O_INFO_BASIC), "open dataset", source_.name);
    if (here.fileno == there.fileno) return;
    const ssize_t length = detail::check(H5Fget_name(source_.dataset.get(), nullptr, 0), "open dataset", source_.name);
    std::vector<char> path(static_cast<std::size_t>(length) + 1, '\0');
    detail::check(H5Fget_name(source_.dataset.get(), path.data(), path.size()), "open dataset", source_.name);
    source_.foreign = std::make_unique<File::State>();
    source_.foreign->fd = detail::open_regular_file(path.data(), source_.foreign->bytes);
    source_.foreign->file = detail::checked(H5Iget_file_id(source_.dataset.get()), "open dataset", source_.name);
    source_.file = source_.foreign.get();
    source_.file_path = path.data();
  }

  [[nodiscard]] bool never_stored() const {
    return native_ && source_.info.layout == Layout::contiguous && !source_.info.file_offset;
  }

  std::unique_ptr<detail::Reader> make_reader() {
    const bool elements = source_.info.shape.checked_elements() != 0;
    if (!native_ || !elements) return detail::make_library_reader(source_);
    if (source_.info.layout == Layout::chunked) return detail::make_chunk_reader(source_);
    if (source_.info.file_offset) return detail::make_contiguous_reader(source_);
    return detail::make_library_reader(source_);  // never stored: read() fills
  }

  [[nodiscard]] detail::Request make_request(const Selection& selection, const Box& box, std::byte* out,
                                             std::span<const std::ptrdiff_t> strides) const {
    std::vector<std::ptrdiff_t> dense;
    if (strides.empty()) {
      dense = detail::contiguous_strides(box.count, memory_item_bytes());
      strides = dense;
    }
    detail::Request request;
    request.rank = selection.rank;
    request.out = out;
    std::size_t kept = 0;
    for (std::size_t axis = 0; axis < selection.rank; ++axis) {
      const AxisSelection& range = selection.axes[axis];
      if (!range.keep) {
        request.axes[axis] = {range.start, 1, 1, false};
        continue;
      }
      request.axes[axis] = {range.at(box.start[kept]), range.step, box.count[kept], true};
      request.strides[axis] = strides[kept++];
    }
    return request;
  }

  detail::Source source_;
  std::unique_ptr<detail::Unpacking> unpacking_;
  std::vector<std::byte> unpacked_;  // where it is not wanted packed together
  bool native_ = false;
  std::unique_ptr<detail::Reader> reader_;
};

Dataset Dataset::open(const File& file, const std::string& path, const ReadOptions& options) {
  detail::start_library();
  return Dataset(std::make_unique<Impl>(file, path, options));
}

Dataset::Dataset(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Dataset::Dataset(Dataset&&) noexcept = default;
Dataset& Dataset::operator=(Dataset&&) noexcept = default;
Dataset::~Dataset() = default;

const DatasetInfo& Dataset::info() const noexcept { return impl_->info(); }
const std::string& Dataset::name() const noexcept { return impl_->source().name; }
void Dataset::check_readable() const { impl_->check_readable(); }
void Dataset::check_real() const { impl_->check_real(); }
bool Dataset::is_stored(const Box& box) const { return impl_->is_stored(box); }
bool Dataset::all_fill() const { return impl_->all_fill(); }

std::optional<std::vector<Shape>> Dataset::stored_chunks(std::size_t max_chunks) const {
  return impl_->stored_chunks(max_chunks);
}

std::shared_ptr<const std::byte> Dataset::in_place(const Selection& selection, const Box& box) {
  return impl_->in_place(selection, box);
}

void Dataset::read(const Selection& selection, const Box& box, std::byte* out,
                   std::span<const std::ptrdiff_t> strides) {
  impl_->read(selection, box, out, strides);
}

}  // namespace runrig::hdf5
