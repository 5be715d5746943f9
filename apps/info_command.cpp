#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include "common.hpp"
#include "run.hpp"
#include "text.hpp"

namespace runrig::cli {
namespace {

std::string filters_text(const hdf5::DatasetInfo& info) {
  std::string text;
  for (const auto& each : info.filters) {
    text += (text.empty() ? "" : ",") + each.name + (each.available ? "" : " (not available)");
  }
  return text;
}

std::string layout_text(const hdf5::DatasetInfo& info) {
  std::string text(hdf5::layout_name(info.layout));
  if (info.chunk.rank() > 0) text += " " + to_string(info.chunk);
  if (const auto filters = filters_text(info); !filters.empty()) text += " " + filters;
  return text;
}

std::string shape_text(const hdf5::DatasetInfo& info) {
  if (info.null_space) return "null";
  std::string text = to_string(info.shape);
  if (info.maxshape.rank() > 0 && !(info.maxshape == info.shape)) {
    text += " of (";
    for (std::size_t i = 0; i < info.maxshape.rank(); ++i) {
      text += (i > 0 ? ", " : "") + (info.maxshape[i] == hdf5::unlimited ? "inf" : std::to_string(info.maxshape[i]));
    }
    text += info.maxshape.rank() == 1 ? ",)" : ")";
  }
  return text;
}

std::string kind_text(const hdf5::ObjectInfo& object) {
  switch (object.kind) {
    case hdf5::ObjectKind::group:
      return "group";
    case hdf5::ObjectKind::dataset:
      return "dataset";
    case hdf5::ObjectKind::named_type:
      return "type";
    case hdf5::ObjectKind::hard_link:
      return "hard_link";
    case hdf5::ObjectKind::soft_link:
      return "soft_link";
    case hdf5::ObjectKind::external_link:
      return "external_link";
    case hdf5::ObjectKind::other:
      break;
  }
  return "other";
}

void print_listing(const batch::FileListing& listing) {
  fmt::print("{}  ({})\n", printable(listing.file), size_text(listing.file_bytes));
  std::vector<std::vector<std::string>> rows;
  std::string attributes;
  const auto flush = [&] {
    fmt::print("{}", table(rows, {}));
    rows.clear();
  };
  for (const auto& object : listing.objects) {
    std::string path = printable(object.path);
    if (object.kind == hdf5::ObjectKind::group && path != "/") path += "/";
    if (object.dataset) {
      const auto& info = *object.dataset;
      const std::string size = info.size_bytes == UINT64_MAX ? "huge" : size_text(info.size_bytes);
      rows.push_back({"  " + path, info.type.numpy, shape_text(info), layout_text(info),
                      size + ", " + size_text(info.stored_bytes) + " stored"});
    } else if (!object.target.empty()) {
      rows.push_back({"  " + path + " -> " + printable(object.target)});
    } else if (object.kind != hdf5::ObjectKind::group) {
      rows.push_back({"  " + path, kind_text(object)});
    } else {
      rows.push_back({"  " + path});
    }
    if (object.attributes.empty()) continue;
    flush();
    for (const auto& each : object.attributes) {
      fmt::print("      @{} = {}\n", printable(each.name), printable(each.value));
    }
  }
  flush();
}

std::string json_maxshape(const Shape& shape) {
  std::string text = "[";
  for (const auto extent : shape) {
    text += (text.size() > 1 ? "," : "") + (extent == hdf5::unlimited ? "null" : std::to_string(extent));
  }
  return text + "]";
}

std::string json_dataset(const hdf5::DatasetInfo& info) {
  std::string filters;
  for (const auto& each : info.filters) {
    filters += fmt::format(R"({}{{"id":{},"name":{},"parameters":[{}],"available":{}}})", filters.empty() ? "" : ",",
                           each.id, json_string(each.name), fmt::join(each.parameters, ","), each.available);
  }
  return fmt::format(
      R"(,"shape":{},"maxshape":{},"dtype":{},"type":{},"numeric":{},"layout":{},"chunks":{},"filters":[{}],"size_bytes":{},"stored_bytes":{})",
      info.null_space ? "null" : json_shape(info.shape), json_maxshape(info.maxshape), json_string(info.type.numpy),
      json_string(info.type.description), info.type.numeric, json_string(hdf5::layout_name(info.layout)),
      info.chunk.rank() > 0 ? json_shape(info.chunk) : "null", filters, info.size_bytes, info.stored_bytes);
}

std::string json_object(const hdf5::ObjectInfo& object) {
  std::string text = fmt::format(R"({{"path":{},"kind":"{}")", json_string(object.path), kind_text(object));
  if (!object.target.empty()) text += ",\"target\":" + json_string(object.target);
  if (object.dataset) text += json_dataset(*object.dataset);
  text += ",\"attributes\":[";
  bool first = true;
  for (const auto& each : object.attributes) {
    text += fmt::format(R"({}{{"name":{},"dtype":{},"shape":{},"value":{}}})", first ? "" : ",", json_string(each.name),
                        json_string(each.type.numpy), each.null_space ? "null" : json_shape(each.shape),
                        each.value.empty() ? "null" : each.value);
    first = false;
  }
  return text + "]}";
}

int run(CommonOptions& common, Run& run) {
  common.settle();
  const auto report = run.look([&](batch::Session& session) { return session.info(common.files); });
  if (common.json) {
    std::string files;
    for (const auto& listing : report.files) {
      files += fmt::format(R"({}{{"file":{},"file_bytes":{},"objects":[)", files.empty() ? "" : ",",
                           json_string(listing.file), listing.file_bytes);
      for (std::size_t i = 0; i < listing.objects.size(); ++i) {
        files += (i > 0 ? "," : "") + json_object(listing.objects[i]);
      }
      files += "]}";
    }
    fmt::print("{{\"files\":[{}],\"errors\":{}}}\n", files, json_failures(report.failures));
  } else {
    for (const auto& listing : report.files) print_listing(listing);
  }
  print_failures(report.failures);
  return report.failures.empty() ? exit_ok : exit_failed;
}

}  // namespace

void add_info(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("info", "what is in a file: groups, datasets, attributes");
  auto common = std::make_shared<CommonOptions>();
  common->add_to(*command);
  command->add_flag("--json", common->json, "print JSON");
  command->footer("Example:\n  runrig info data/month-1.h5");
  command->callback(
      [common, &exit_code] { exit_code = Run::of("info", *common, [&](Run& each) { return run(*common, each); }); });
}

}  // namespace runrig::cli
