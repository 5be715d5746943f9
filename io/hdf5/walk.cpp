#include <algorithm>
#include <map>
#include <utility>

#include "dataset_info.hpp"
#include "file_state.hpp"

namespace runrig::hdf5 {
namespace {

using detail::check;
using detail::checked;
using detail::Id;

struct Link {
  std::string name;
  H5L_type_t type;
};
struct Links {
  std::vector<Link> list;
  std::size_t most;
};

extern "C" herr_t collect_link(hid_t, const char* name, const H5L_info_t* info, void* links) {
  auto& found = *static_cast<Links*>(links);
  if (found.list.size() >= found.most) return 1;
  try {
    found.list.push_back({name, info->type});
  } catch (...) {  // through a C library nothing may be thrown; the caller sees the failure
    return -1;
  }
  return 0;
}

std::string soft_target(hid_t group, const std::string& link, std::string_view name) {
  H5L_info_t info;
  check(H5Lget_info(group, link.c_str(), &info, H5P_DEFAULT), "read link", name);
  constexpr std::size_t most = std::size_t{64} << 10;
  std::vector<char> value(std::min(info.u.val_size, most) + 1, '\0');
  check(H5Lget_val(group, link.c_str(), value.data(), value.size() - 1, H5P_DEFAULT), "read link", name);
  if (info.type != H5L_TYPE_EXTERNAL) return value.data();
  const char* file = nullptr;
  const char* object = nullptr;
  check(H5Lunpack_elink_val(value.data(), value.size() - 1, nullptr, &file, &object), "read link", name);
  return std::string(file) + ":" + object;
}

/// A walk under way. Depth first by an explicit list of open groups: a file decides how deep it goes.
class Walk {
 public:
  Walk(const File& file, const std::function<void(const ObjectInfo&)>& visit, const WalkOptions& options)
      : file_(file), visit_(visit), options_(options) {}

  void run() {
    Id root = checked(H5Gopen2(file_.state().file.get(), "/", H5P_DEFAULT), "open", detail::printable(file_.path()));
    (void)is_new(root.get(), "/");
    ObjectInfo info;
    info.path = "/";
    info.kind = ObjectKind::group;
    report_group(info, std::move(root));
    while (!open_groups_.empty()) {
      OpenGroup& group = open_groups_.back();
      if (group.next == group.links.size()) {
        open_groups_.pop_back();
        continue;
      }
      const Link link = group.links[group.next++];
      const std::string path = group.path + (group.path.ends_with('/') ? "" : "/") + link.name;
      visit_link(group.id.get(), link, path);
    }
  }

 private:
  struct OpenGroup {
    Id id;
    std::string path;
    std::vector<Link> links;
    std::size_t next = 0;
  };

  /// Runs `describe`; what it throws is the object's error, and the walk goes on.
  template <class Describe>
  void guarded(ObjectInfo& info, Describe&& describe) {
    try {
      describe();
    } catch (const Error& error) {
      info.error = error.what();
    }
  }

  void report(const ObjectInfo& info) {
    if (++reported_ > options_.max_objects) {
      throw FormatError("list", detail::printable(file_.path()),
                        "more than " + std::to_string(options_.max_objects) + " objects");
    }
    visit_(info);
  }

  /// Remembers an object; its first path if it is known already.
  std::optional<std::string> is_new(hid_t object, const std::string& path) {
    H5O_info_t info;
    check(H5Oget_info2(object, &info, H5O_INFO_BASIC), "open", detail::object_name(file_, path));
    const auto [at, added] = first_paths_.try_emplace({info.fileno, info.addr}, path);
    return added ? std::nullopt : std::optional(at->second);
  }

  void report_group(ObjectInfo& info, Id group) {
    std::vector<Link> links;
    guarded(info, [&] {
      const std::string name = detail::object_name(file_, info.path);
      if (options_.attributes) info.attributes = detail::read_attributes(group.get(), name);
      if (open_groups_.size() >= options_.max_depth) {
        throw FormatError("list", name, "groups nested more than " + std::to_string(options_.max_depth) + " deep");
      }
      Links found{{}, options_.max_objects + 1};
      hsize_t position = 0;
      check(H5Literate(group.get(), H5_INDEX_NAME, H5_ITER_INC, &position, collect_link, &found), "list", name);
      links = std::move(found.list);
    });
    report(info);
    open_groups_.push_back({std::move(group), info.path, std::move(links), 0});
  }

  void visit_link(hid_t group, const Link& link, const std::string& path) {
    ObjectInfo info;
    info.path = path;
    const std::string name = detail::object_name(file_, path);
    if (link.type == H5L_TYPE_HARD) {
      visit_object(group, link.name, name, std::move(info));
      return;
    }
    info.kind = link.type == H5L_TYPE_SOFT       ? ObjectKind::soft_link
                : link.type == H5L_TYPE_EXTERNAL ? ObjectKind::external_link
                                                 : ObjectKind::other;
    if (info.kind != ObjectKind::other) guarded(info, [&] { info.target = soft_target(group, link.name, name); });
    report(info);
  }

  void visit_object(hid_t parent, const std::string& link, const std::string& name, ObjectInfo info) {
    Id object;
    guarded(info, [&] {
      object = checked(H5Oopen(parent, link.c_str(), H5P_DEFAULT), "open", name);
      const H5I_type_t type = H5Iget_type(object.get());
      info.kind = type == H5I_GROUP      ? ObjectKind::group
                  : type == H5I_DATASET  ? ObjectKind::dataset
                  : type == H5I_DATATYPE ? ObjectKind::named_type
                                         : ObjectKind::other;
      if (const auto first = is_new(object.get(), info.path)) {
        info.kind = ObjectKind::hard_link;
        info.target = *first;
      }
    });
    if (info.kind == ObjectKind::group && info.error.empty()) {
      report_group(info, std::move(object));
      return;
    }
    if (info.error.empty() && info.kind != ObjectKind::hard_link) {
      guarded(info, [&] {
        if (info.kind == ObjectKind::dataset) {
          info.dataset = detail::describe_dataset(object.get(), name, detail::StoredBytes::count);
        }
        if (options_.attributes) info.attributes = detail::read_attributes(object.get(), name);
      });
    }
    report(info);
  }

  const File& file_;
  const std::function<void(const ObjectInfo&)>& visit_;
  const WalkOptions& options_;
  std::size_t reported_ = 0;
  std::map<std::pair<unsigned long, haddr_t>, std::string> first_paths_;
  std::vector<OpenGroup> open_groups_;
};

}  // namespace

void File::walk(const std::function<void(const ObjectInfo&)>& visit, const WalkOptions& options) const {
  detail::start_library();
  Walk(*this, visit, options).run();
}

}  // namespace runrig::hdf5
