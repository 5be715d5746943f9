#include <algorithm>
#include <vector>

#include "reader.hpp"
#include "runrig/hdf5/strided_copy.hpp"

namespace runrig::hdf5::detail {
namespace {

constexpr std::uint64_t buffer_bytes = std::uint64_t{16} << 20;  // for what cannot be read straight into place

class LibraryReader final : public Reader {
 public:
  explicit LibraryReader(const Source& source)
      : source_(source),
        file_type_(checked(H5Dget_type(source.dataset.get()), "read", source.name)),
        file_space_(checked(H5Dget_space(source.dataset.get()), "read", source.name)),
        conversion_(file_type_.get(), source.info.type, source.name),
        item_bytes_(source.options.as_stored ? source.info.type.item_bytes
                                             : runrig::item_bytes(source.info.type.dtype)) {}

  void read(const Request& request) override {
    const Shape counts = request.counts();
    bool forward = true;
    for (std::size_t axis = 0; axis < request.rank; ++axis) {
      forward = forward && (request.axes[axis].step > 0 || counts[axis] == 1);
    }
    if (forward && conversion_.room_bytes() == item_bytes_ &&
        is_contiguous(counts, request.out_strides(), item_bytes_)) {
      read_dense(request, request.out);
    } else {
      read_through_buffer(request);
    }
  }

 private:
  /// The request's elements, in ascending order of coordinates, to `to`, which has room for conversion.
  void read_dense(const Request& request, std::byte* to) {
    const hsize_t elements = request.counts().elements();
    // Where nothing is filled the library leaves the memory as it finds it, or refuses if there is nothing at all.
    if (source_.info.fill_never) std::fill_n(to, elements * conversion_.room_bytes(), std::byte{0});
    if (source_.info.fill_never && nothing_stored()) return;
    Id memory_space;
    auto file_selection = H5S_ALL;
    auto memory_selection = H5S_ALL;
    if (request.rank > 0) {
      select(request);
      // Of the same rank as the file's: for others the library maps chunks element by element, thirty times as slow.
      const Coordinates extents = to_coordinates(request.counts());
      memory_space =
          checked(H5Screate_simple(static_cast<int>(request.rank), extents.data(), nullptr), "read", source_.name);
      file_selection = file_space_.get();
      memory_selection = memory_space.get();
    }
    // In the stored type, so that the library converts nothing: our conversion is then the same on every path.
    check(H5Dread(source_.dataset.get(), file_type_.get(), memory_selection, file_selection, H5P_DEFAULT, to), "read",
          source_.name);
    conversion_.convert(to, static_cast<std::size_t>(elements));
  }

  [[nodiscard]] bool nothing_stored() const {
    H5D_space_status_t status = H5D_SPACE_STATUS_ERROR;
    check(H5Dget_space_status(source_.dataset.get(), &status), "read", source_.name);
    const bool own = source_.info.layout == Layout::contiguous || source_.info.layout == Layout::chunked;
    return own && status == H5D_SPACE_STATUS_NOT_ALLOCATED;
  }

  void select(const Request& request) {
    std::array<hsize_t, max_rank> start{};
    std::array<hsize_t, max_rank> stride{};
    std::array<hsize_t, max_rank> count{};
    for (std::size_t i = 0; i < request.rank; ++i) {
      const AxisSelection& axis = request.axes[i];
      const bool backward = axis.step < 0 && axis.count > 1;
      start[i] = backward ? axis.at(axis.count - 1) : axis.start;
      const auto step = static_cast<std::uint64_t>(axis.step);
      stride[i] = axis.count == 1 ? 1 : (backward ? 0 - step : step);
      count[i] = axis.count;
    }
    check(H5Sselect_hyperslab(file_space_.get(), H5S_SELECT_SET, start.data(), stride.data(), count.data(), nullptr),
          "select from", source_.name);
  }

  void read_through_buffer(const Request& request) {
    const Shape counts = request.counts();
    const std::uint64_t elements = counts.elements();
    if (elements > std::max<std::uint64_t>(1, buffer_bytes / conversion_.room_bytes())) {
      read_in_halves(request);
      return;
    }
    buffer_.resize(static_cast<std::size_t>(elements) * conversion_.room_bytes());
    read_dense(request, buffer_.data());
    StridedCopy copy{counts, contiguous_strides(counts, item_bytes_),
                     std::vector(request.out_strides().begin(), request.out_strides().end()), item_bytes_};
    std::byte* to = request.out;
    for (std::size_t axis = 0; axis < request.rank; ++axis) {
      if (request.axes[axis].step > 0 || counts[axis] == 1) continue;
      // Read in ascending order, wanted in descending: from the end of the destination backwards.
      to += static_cast<std::ptrdiff_t>(counts[axis] - 1) * copy.to_strides[axis];
      copy.to_strides[axis] = -copy.to_strides[axis];
    }
    copy.run(buffer_.data(), to);
  }

  void read_in_halves(const Request& request) {
    std::size_t axis = 0;
    while (request.axes[axis].count == 1) ++axis;  // more than one element, so there is one
    Request half = request;
    AxisSelection& range = half.axes[axis];
    range.count /= 2;
    read_through_buffer(half);
    const std::uint64_t done = range.count;
    range.start = request.axes[axis].at(done);
    range.count = request.axes[axis].count - done;
    half.out += static_cast<std::ptrdiff_t>(done) * half.strides[axis];
    read_through_buffer(half);
  }

  const Source& source_;
  Id file_type_;
  Id file_space_;
  ElementConversion conversion_;
  std::size_t item_bytes_;
  std::vector<std::byte> buffer_;
};

}  // namespace

std::unique_ptr<Reader> make_library_reader(const Source& source) { return std::make_unique<LibraryReader>(source); }

}  // namespace runrig::hdf5::detail
