#include "output_record.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "runrig/engine/expression.hpp"
#include "runrig/sync/error.hpp"
#include "runrig/sync/unique_fd.hpp"
#include "sha256.hpp"

namespace runrig::batch {
namespace {

constexpr std::string_view magic = "\nrunrig-record-1\n";

// Fields one behind the other, none of which can be taken for part of its neighbour.
class Text {
 public:
  Text& add(std::string_view field) {
    text_ += std::to_string(field.size()) + ":";
    text_ += field;
    return *this;
  }
  Text& add(std::uint64_t number) { return add(std::string_view(std::to_string(number))); }
  Text& add(std::int64_t number) { return add(std::string_view(std::to_string(number))); }
  Text& add(bool flag) { return add(std::string_view(flag ? "yes" : "no")); }
  Text& add(const char* field) { return add(std::string_view(field)); }
  Text& add(const hdf5::DatasetRef& dataset) {
    add(dataset.file.has_value());  // which file is a matter of the inputs' versions
    return add(dataset.path).add(dataset.selection ? dataset.selection->text : "");
  }
  Text& add(const hdf5::StorageOptions& storage) {
    add(storage.filters.has_value());
    if (storage.filters) {
      add(std::uint64_t{storage.filters->size()});
      for (const hdf5::FilterInfo& each : *storage.filters) {
        add(static_cast<std::int64_t>(each.id)).add(each.fast).add(std::uint64_t{each.parameters.size()});
        for (const unsigned parameter : each.parameters) add(std::uint64_t{parameter});
      }
    }
    return add(static_cast<std::uint64_t>(storage.chunks)).add(to_string(storage.chunk));
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

// The word behind `name` up to the end of its line.
std::optional<std::string> field(std::string_view text, std::string_view name) {
  const auto at = text.find("\n" + std::string(name) + " ");
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = text.substr(at + name.size() + 2);
  return std::string(rest.substr(0, rest.find('\n')));
}

}  // namespace

std::string record_text(const OutputRecord& record, std::uint64_t file_bytes) {
  std::string text(magic);
  text += "bytes " + std::to_string(file_bytes) + "\nrequest " + record.request + "\ninputs " + record.inputs +
          "\nversion " + record.version.substr(0, 32) + "\n";
  text.resize(record_bytes - 1, ' ');
  return text + "\n";
}

std::optional<OutputRecord> read_record(const std::string& path) {
  const UniqueFd fd(check_errno(retry_on_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }),
                                "open", path));
  struct stat status {};
  check_errno(::fstat(fd.get(), &status), "look at", path);
  const auto bytes = static_cast<std::uint64_t>(status.st_size);
  if (!S_ISREG(status.st_mode) || bytes < record_bytes) return std::nullopt;
  char buffer[record_bytes];
  const auto got =
      check_errno(retry_on_eintr([&] {
                    return ::pread(fd.get(), buffer, sizeof buffer, static_cast<off_t>(bytes - record_bytes));
                  }),
                  "read", path);
  const std::string_view text(buffer, static_cast<std::size_t>(got));
  if (text.size() != record_bytes || !text.starts_with(magic)) return std::nullopt;
  const auto request = field(text, "request");
  const auto inputs = field(text, "inputs");
  const auto version = field(text, "version");
  if (!request || !inputs || !version) return std::nullopt;
  OutputRecord record{*request, *inputs, *version};
  // As a whole, so that there is one way only to write it.
  if (text != record_text(record, bytes - record_bytes)) return std::nullopt;
  return record;
}

std::string request_text(const MapRequest& request, const Options& options) {
  Text text;
  text.add("map").add(options.conventions).add(std::uint64_t{request.inputs.size()});
  for (const MapInput& each : request.inputs) text.add(each.name).add(each.dataset);
  text.add(std::uint64_t{request.outputs.size()});
  for (const MapOutput& each : request.outputs) text.add(each.expression).add(each.to);
  text.add(request.dtype ? dtype_name(*request.dtype) : "").add(request.storage).add(request.provenance);
  // The library is a file that is read: its version is among those of the inputs.
  text.add(request.kernel.has_value());
  if (request.kernel) text.add(request.kernel->function).add(request.kernel->parameter);
  return text.take();
}

std::string request_text(const ReduceRequest& request, const Options& options) {
  Text text;
  text.add("reduce")
      .add(options.conventions)
      .add(request.operation.name())
      .add(static_cast<std::uint64_t>(request.nan));
  text.add(request.operation.range.has_value());
  if (request.operation.range) {
    text.add(number_text(request.operation.range->low)).add(number_text(request.operation.range->high));
  }
  for (const hdf5::DatasetRef& each : request.datasets) text.add(each);
  text.add(request.axes.has_value());
  if (request.axes) {
    for (const std::int64_t axis : *request.axes) text.add(axis);
  }
  return text.add(request.to).add(request.provenance).take();
}

std::string request_text(const RepackRequest& request) {
  Text text;
  text.add("repack").add(std::uint64_t{request.datasets.size()});
  for (const std::string& each : request.datasets) text.add(each);
  return text.add(request.storage).take();
}

OutputRecord make_record(std::string_view request, const std::vector<FileVersion>& inputs) {
  Text text;
  for (const FileVersion& each : inputs) {
    text.add(each.path).add(each.inode).add(each.bytes).add(each.modified_seconds).add(each.modified_nanoseconds);
  }
  return {sha256_hex(request), sha256_hex(text.take()), RUNRIG_VERSION};
}

}  // namespace runrig::batch
