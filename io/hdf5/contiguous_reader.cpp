#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "reader.hpp"
#include "runrig/hdf5/strided_copy.hpp"
#include "runrig/shm/mapping.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::hdf5::detail {
namespace {

constexpr std::uint64_t window_bytes = std::uint64_t{1} << 20;  // read at once where the elements lie scattered
constexpr std::uint64_t page_bytes = 4096;
constexpr std::uint64_t wide_gap_bytes = std::uint64_t{64} << 10;  // cheaper to skip than to read

/// Part of a request: a box in the file and in memory, by strides in bytes.
struct Piece {
  std::uint64_t file_at = 0;  // of the element that is first in memory order
  std::byte* out = nullptr;
  Shape count;
};

class ContiguousReader final : public Reader {
 public:
  explicit ContiguousReader(const Source& source)
      : source_(source),
        fd_(source.file->fd.get()),
        item_bytes_(source.info.type.item_bytes),
        conversion_(checked(H5Dget_type(source.dataset.get()), "read", source.name).get(), source.info.type,
                    source.name) {
    const auto bytes = source.info.shape.checked_bytes(item_bytes_);
    const std::uint64_t file_bytes = source.file->bytes;
    const std::uint64_t offset = *source.info.file_offset;
    // By subtraction: offset + bytes could wrap.
    if (!bytes || offset > file_bytes || *bytes > file_bytes - offset) {
      throw FormatError("read", source.name,
                        "its " + (bytes ? std::to_string(*bytes) + " bytes" : std::string("elements")) +
                            " from offset " + std::to_string(offset) + " reach past the file's end at " +
                            std::to_string(file_bytes) + ": the file is truncated");
    }
    // The product of the extents fits now, so partial products do.
    file_strides_ = contiguous_strides(source.info.shape, item_bytes_);
  }

  void read(const Request& request) override {
    to_strides_.assign(request.out_strides().begin(), request.out_strides().end());
    read_piece(locate(request), 0);
  }

  std::shared_ptr<const std::byte> in_place(const Request& request) override {
    const Piece piece = locate(request);
    if (!conversion_.is_identity() || piece.file_at % item_bytes_ != 0 ||
        !is_contiguous(piece.count, from_strides_, item_bytes_)) {
      return nullptr;
    }
    if (!mapping_ && !map()) return nullptr;
    const std::byte* begin = mapping_->bytes().data() + (piece.file_at - mapped_from_);
    if (!are_there(begin, piece.count.elements() * item_bytes_)) return nullptr;
    return {mapping_, begin};
  }

 private:
  /// False on a file system that maps no files.
  bool map() {
    if (unmappable_) return false;
    const std::uint64_t end = *source_.info.file_offset + *source_.info.shape.checked_bytes(item_bytes_);
    mapped_from_ = *source_.info.file_offset / page_bytes * page_bytes;
    try {
      mapping_ = std::make_shared<const Mapping>(
          Mapping::map(fd_, mapped_from_, end - mapped_from_, Access::read_only, source_.name));
    } catch (const Error&) {
      unmappable_ = true;
    }
    return !unmappable_;
  }

  /// Maps the pages of these bytes now: cheaper than one fault after the other, and what cannot be read is learnt here
  /// and not by a signal. read() then tells why.
  static bool are_there(const std::byte* begin, std::uint64_t bytes) {
    const std::uintptr_t first = reinterpret_cast<std::uintptr_t>(begin) / page_bytes * page_bytes;
    const std::uintptr_t end = reinterpret_cast<std::uintptr_t>(begin) + bytes;
#ifndef MADV_POPULATE_READ
    constexpr int MADV_POPULATE_READ = 22;  // Linux 5.14; older ones say EINVAL
#endif
    return retry_on_eintr([&] { return ::madvise(reinterpret_cast<void*>(first), end - first, MADV_POPULATE_READ); }) ==
               0 ||
           errno == EINVAL;
  }

  /// Where the request's elements are, and the strides between them.
  Piece locate(const Request& request) {
    Piece piece{*source_.info.file_offset, request.out, request.counts()};
    from_strides_.assign(request.rank, 0);
    for (std::size_t axis = 0; axis < request.rank; ++axis) {
      piece.file_at += request.axes[axis].start * static_cast<std::uint64_t>(file_strides_[axis]);
      from_strides_[axis] = piece.count[axis] == 1 ? 0 : request.axes[axis].step * file_strides_[axis];
    }
    return piece;
  }

  static std::uint64_t magnitude(std::ptrdiff_t stride) {
    return stride < 0 ? 0 - static_cast<std::uint64_t>(stride) : static_cast<std::uint64_t>(stride);
  }

  /// Bytes from the first to behind the last element in the file, from `axis` on.
  [[nodiscard]] std::uint64_t span_bytes(const Piece& piece, std::size_t axis) const {
    std::uint64_t bytes = item_bytes_;
    for (; axis < piece.count.rank(); ++axis) bytes += (piece.count[axis] - 1) * magnitude(from_strides_[axis]);
    return bytes;
  }

  /// Axes before `axis` have one element left.
  void read_piece(const Piece& piece, std::size_t axis) {
    if (is_contiguous(piece.count, from_strides_, item_bytes_) &&
        is_contiguous(piece.count, to_strides_, item_bytes_)) {
      const auto items = static_cast<std::size_t>(piece.count.elements());
      read_bytes(piece.file_at, {piece.out, items * item_bytes_});
      conversion_.convert(piece.out, items);
      return;
    }
    const bool last = axis + 1 >= piece.count.rank();
    const std::uint64_t inner = last ? item_bytes_ : span_bytes(piece, axis + 1);
    const std::uint64_t stride = magnitude(from_strides_[axis]);
    const bool scattered = stride > inner + wide_gap_bytes;
    if (!scattered && span_bytes(piece, axis) <= window_bytes) {
      read_window(piece);
      return;
    }
    // Cut along this axis: as many of its elements as fit into a window, or one if what lies between is not wanted.
    std::uint64_t group = 1;
    if (!scattered && inner < window_bytes && stride > 0) group = (window_bytes - inner) / stride + 1;
    for (std::uint64_t i = 0; i < piece.count[axis]; i += group) {
      Piece part = piece;
      part.count[axis] = std::min(group, piece.count[axis] - i);
      part.file_at += i * static_cast<std::uint64_t>(from_strides_[axis]);  // wraps exactly for negative strides
      part.out += static_cast<std::ptrdiff_t>(i) * to_strides_[axis];
      if (part.count[axis] == 1 && last) {
        read_bytes(part.file_at, {part.out, item_bytes_});
        conversion_.convert(part.out, 1);
      } else {
        read_piece(part, part.count[axis] == 1 ? axis + 1 : axis);
      }
    }
  }

  void read_window(const Piece& piece) {
    // With negative strides the element that is first in memory is not the first in the file.
    std::uint64_t before = 0;
    for (std::size_t axis = 0; axis < piece.count.rank(); ++axis) {
      if (from_strides_[axis] < 0) before += (piece.count[axis] - 1) * magnitude(from_strides_[axis]);
    }
    const auto bytes = static_cast<std::size_t>(span_bytes(piece, 0));
    if (window_.size() < bytes) window_.resize(bytes);
    read_bytes(piece.file_at - before, {window_.data(), bytes});
    conversion_.convert(window_.data(), bytes / item_bytes_);
    StridedCopy{piece.count, from_strides_, to_strides_, item_bytes_}.run(window_.data() + before, piece.out);
  }

  void read_bytes(std::uint64_t at, std::span<std::byte> out) {
    while (!out.empty()) {
      const ssize_t got =
          check_errno(retry_on_eintr([&] { return ::pread(fd_, out.data(), out.size(), static_cast<off_t>(at)); }),
                      "read", source_.name);
      if (got == 0) throw FormatError("read", source_.name, "the file was truncated while it was read");
      out = out.subspan(static_cast<std::size_t>(got));
      at += static_cast<std::uint64_t>(got);
    }
  }

  const Source& source_;
  int fd_;
  std::size_t item_bytes_;
  ElementConversion conversion_;
  std::vector<std::ptrdiff_t> file_strides_;
  std::vector<std::ptrdiff_t> from_strides_;
  std::vector<std::ptrdiff_t> to_strides_;
  std::vector<std::byte> window_;
  std::shared_ptr<const Mapping> mapping_;  // of all its elements, once some are wanted in place
  std::uint64_t mapped_from_ = 0;
  bool unmappable_ = false;
};

}  // namespace

std::unique_ptr<Reader> make_contiguous_reader(const Source& source) {
  return std::make_unique<ContiguousReader>(source);
}

}  // namespace runrig::hdf5::detail
