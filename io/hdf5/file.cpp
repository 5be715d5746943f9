#include "runrig/hdf5/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include "file_state.hpp"

namespace runrig::hdf5 {
namespace {

[[noreturn]] void explain_failed_open(const std::string& path) {
  const std::string reason = detail::last_reason();
  const auto says = [&](std::string_view words) { return reason.find(words) != std::string::npos; };
  if (says("file signature not found")) throw FormatError("open", path, "not an HDF5 file");
  if (says("truncated file")) throw FormatError("open", path, "the file is truncated; " + reason);
  if (says("unable to lock file")) {
    throw Error(std::errc::device_or_resource_busy,
                "open (a program that writes it holds its lock; wait for that, or set HDF5_USE_FILE_LOCKING=FALSE to "
                "read it nevertheless)",
                path);
  }
  if (says("already open for write")) {
    throw FormatError("open", path,
                      "still open for writing, or its writer was killed (h5clear -s FILE marks it closed)");
  }
  throw FormatError("open", path, reason);
}

}  // namespace

File::File(std::string path, std::unique_ptr<State> state) : path_(std::move(path)), state_(std::move(state)) {}
File::File(File&&) noexcept = default;
File& File::operator=(File&&) noexcept = default;
File::~File() = default;

std::uint64_t File::file_bytes() const noexcept { return state_->bytes; }

File File::open(const std::string& path) {
  detail::start_library();
  if (path.find('\0') != std::string::npos) throw FormatError("open", detail::printable(path), "a NUL in the name");
  auto state = std::make_unique<State>();
  state->fd = detail::open_regular_file(path, state->bytes);
  state->file = detail::Id(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT));
  if (!state->file) explain_failed_open(path);
  return File(path, std::move(state));
}

std::vector<AttributeInfo> File::attributes(const std::string& object) const {
  const std::string name = detail::object_name(*this, object);
  const detail::Id id =
      detail::checked(H5Oopen(state_->file.get(), object.c_str(), H5P_DEFAULT), "read attributes of", name);
  return detail::read_attributes(id.get(), name);
}

namespace detail {

// The system knows better than the library: does it exist, may we read it, is it a file at all?
UniqueFd open_regular_file(const std::string& path, std::uint64_t& bytes) {
  // O_NONBLOCK: opening a FIFO would wait for its writer.
  UniqueFd fd(
      check_errno(retry_on_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); }),
                  "open", path));
  struct stat status {};
  check_errno(::fstat(fd.get(), &status), "open", path);
  if (S_ISDIR(status.st_mode)) throw Error(std::errc::is_a_directory, "open", path);
  if (!S_ISREG(status.st_mode)) throw FormatError("open", path, "not a regular file");
  bytes = static_cast<std::uint64_t>(status.st_size);
  return fd;
}

std::string object_name(const File& file, std::string_view path) {
  return printable(file.path(), 1000) + ":" + printable(path, 1000);
}

}  // namespace detail
}  // namespace runrig::hdf5
