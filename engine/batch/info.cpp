#include <sys/stat.h>

#include "encoding.hpp"
#include "file_ledger.hpp"
#include "file_tasks.hpp"
#include "runrig/sync/error.hpp"

namespace runrig::batch {
namespace {

void list_file(SliceContext& context, const FileTask& task, const std::byte* /*argument*/) {
  task.journal.reset();  // a second attempt begins again
  task.journal.act("opening the file");
  hdf5::File& file = OpenFiles::here().file(task.path);
  task.journal.append(pickle::Object(file.file_bytes()));
  task.journal.act("reading the structure");
  bool sound = true;
  file.walk([&](const hdf5::ObjectInfo& object) {
    context.heartbeat();
    task.journal.append(encode(object));
    task.journal.act("reading what follows " + object.path);
    sound = sound && object.error.empty();
  });
  OpenFiles::here().close_all();
  if (!sound) context.retire();
}

}  // namespace

InfoReport Session::info(const std::vector<std::string>& files) {
  State& state = *state_;
  InfoReport report;
  FileLedger ledger(state, files, report.failures);
  const auto take = [&](FileResult& result) {
    const std::string& path = files[result.file];
    FileListing listing;
    listing.file = path;
    try {
      for (std::size_t i = 0; i < result.records.size(); ++i) {
        if (i == 0) {
          listing.file_bytes = result.records[i].as_uint();
        } else {
          listing.objects.push_back(decode_object(result.records[i]));
        }
      }
    } catch (const FormatError& error) {
      result.failure = one_line(error.what());
    }
    for (const auto& object : listing.objects) {
      if (!object.error.empty()) report.failures.push_back(make_failure(path, object.path, object.error));
      for (const auto& attribute : object.attributes) {
        if (!attribute.error.empty()) {
          report.failures.push_back(
              make_failure(path, object.path, "attribute '" + attribute.name + "': " + attribute.error));
        }
      }
    }
    if (!result.failure.empty()) report.failures.push_back(make_failure(path, "", result.failure));
    if (!listing.objects.empty()) report.files.push_back(std::move(listing));
  };
  ledger.run([&] {
    for_each_file(state, files, &list_file, nullptr, [&](FileResult result) {
      ledger.file(result.file, {result.seconds, 0}, [&](FileOutcome&) { take(result); });
    });
  });
  return report;
}

}  // namespace runrig::batch
