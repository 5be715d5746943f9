#include "runrig/hdf5/repack.hpp"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>

#include "dataset_info.hpp"
#include "output_state.hpp"
#include "runrig/hdf5/codec.hpp"
#include "value_copy.hpp"

namespace runrig::hdf5 {
namespace {

using detail::check;
using detail::checked;
using detail::Id;

constexpr std::string_view attempt = "copy";
constexpr std::size_t max_depth = 1000;
constexpr std::size_t max_links = 1'000'000;           // of one group
constexpr std::uint64_t left_as_is_bytes = 4096;       // without chunks: too little to gain from them
constexpr std::uint64_t copied_here_bytes = 64 << 10;  // faster than telling workers

struct Link {
  std::string name;
  H5L_type_t type;
  H5T_cset_t encoding;
};

extern "C" herr_t collect_link_to_copy(hid_t, const char* name, const H5L_info_t* info, void* links) {
  auto& list = *static_cast<std::vector<Link>*>(links);
  try {
    list.push_back({name, info->type, info->cset});
  } catch (...) {  // through a C library nothing may be thrown
    return -1;
  }
  return list.size() >= max_links ? -1 : 0;
}

/// The links of a group, in the order of their creation where that is kept.
std::vector<Link> links_of(hid_t group, hid_t properties, std::string_view name) {
  unsigned order = 0;
  check(H5Pget_link_creation_order(properties, &order), "list", name);
  const H5_index_t index = (order & H5P_CRT_ORDER_TRACKED) != 0 ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME;
  std::vector<Link> links;
  hsize_t position = 0;
  check(H5Literate(group, index, H5_ITER_INC, &position, collect_link_to_copy, &links), "list", name);
  return links;
}

Id link_properties(const Link& link) {
  Id properties = checked(H5Pcreate(H5P_LINK_CREATE), attempt, link.name);
  check(H5Pset_char_encoding(properties.get(), link.encoding), attempt, link.name);
  return properties;
}

using Address = std::pair<unsigned long, haddr_t>;
Address address_of(hid_t object, std::string_view name) {
  H5O_info_t info;
  check(H5Oget_info2(object, &info, H5O_INFO_BASIC), attempt, name);
  return {info.fileno, info.addr};
}

class FileCopy {
 public:
  FileCopy(const File& source, OutputFile::State& output, const RepackOptions& options, std::vector<std::string>& notes,
           const std::function<void()>& heartbeat)
      : source_(source),
        output_(output),
        options_(options),
        notes_(notes),
        heartbeat_(heartbeat),
        references_(source.state().file.get(), output.file.get(), [this](hid_t object) { return copy_of(object); }) {}

  /// Notes what would become of each dataset, in place of copying it.
  void plan(std::vector<RepackedDataset>& planned) {
    planned_ = &planned;
    (void)run();
  }

  std::vector<RepackDataset> run() {
    Id from = checked(H5Gopen2(source_.state().file.get(), "/", H5P_DEFAULT), attempt, name_of("/"));
    Id to = checked(H5Gopen2(output_.file.get(), "/", H5P_DEFAULT), attempt, name_of("/"));
    enter_group(std::move(from), std::move(to), "/");
    while (!open_.empty()) {
      OpenGroup& group = open_.back();
      if (group.next == group.links.size()) {
        open_.pop_back();
        continue;
      }
      heartbeat_();
      copy_link(group, group.links[group.next++]);
    }
    check_names();
    if (planned_ != nullptr) return {};
    // Now that all objects are there, what refers to them.
    for (const std::string& path : waiting_) copy_values(path);
    for (const std::string& path : objects_) copy_attributes(path);
    if (references_.lost() > 0) {
      notes_.push_back(std::to_string(references_.lost()) + " references to what is not in the file refer to nothing");
    }
    return std::move(left_);
  }

 private:
  struct OpenGroup {
    Id from;
    Id to;
    std::string path;
    std::vector<Link> links;
    std::size_t next = 0;
    bool keeps_chunks = false;  // its datasets have the chunks that its maker reads them by
  };

  [[nodiscard]] std::string name_of(std::string_view path) const { return detail::object_name(source_, path); }

  [[nodiscard]] std::string copy_of(hid_t object) const {
    H5O_info_t info;
    if (H5Oget_info2(object, &info, H5O_INFO_BASIC) < 0) return {};
    const auto found = paths_.find({info.fileno, info.addr});
    return found == paths_.end() ? std::string() : found->second;
  }

  void enter_group(Id from, Id to, const std::string& path) {
    const std::string name = name_of(path);
    if (open_.size() >= max_depth) throw FormatError(attempt, name, "groups nested more than 1000 deep");
    paths_.emplace(address_of(from.get(), name), path);
    objects_.push_back(path);
    const Id properties = checked(H5Gget_create_plist(from.get()), attempt, name);
    auto links = links_of(from.get(), properties.get(), name);
    const bool keeps_chunks = (!open_.empty() && open_.back().keeps_chunks) || is_index(from.get(), name);
    open_.push_back({std::move(from), std::move(to), path, std::move(links), 0, keeps_chunks});
  }

  /// Whether it is an index of PyTables' for a table: with other chunks PyTables does not open the table any more.
  static bool is_index(hid_t group, std::string_view name) {
    if (check(H5Aexists(group, "CLASS"), attempt, name) == 0) return false;
    const auto attributes = detail::read_attributes(group, name);
    const auto found = std::ranges::find(attributes, "CLASS", &AttributeInfo::name);
    return found != attributes.end() && (found->value == "\"TINDEX\"" || found->value == "\"INDEX\"");
  }

  void copy_link(const OpenGroup& group, const Link& link) {
    const std::string path = group.path + (group.path.ends_with('/') ? "" : "/") + link.name;
    const Id properties = link_properties(link);
    if (link.type != H5L_TYPE_HARD) {
      copy_symbolic(group, link, properties.get(), name_of(path));
      return;
    }
    Id object = checked(H5Oopen(group.from.get(), link.name.c_str(), H5P_DEFAULT), attempt, name_of(path));
    const Address address = address_of(object.get(), name_of(path));
    if (const auto known = paths_.find(address); known != paths_.end()) {
      check(H5Lcreate_hard(output_.file.get(), known->second.c_str(), group.to.get(), link.name.c_str(),
                           properties.get(), H5P_DEFAULT),
            attempt, name_of(path));
      return;
    }
    switch (H5Iget_type(object.get())) {
      case H5I_GROUP: {
        const Id created = checked(H5Gget_create_plist(object.get()), attempt, name_of(path));
        Id copy = checked(H5Gcreate2(group.to.get(), link.name.c_str(), properties.get(), created.get(), H5P_DEFAULT),
                          attempt, name_of(path));
        enter_group(std::move(object), std::move(copy), path);
        return;
      }
      case H5I_DATATYPE: {
        // Made already if something of this type came before it, in no group.
        const Id type = type_in_output(object.get(), name_of(path));
        check(H5Olink(type.get(), group.to.get(), link.name.c_str(), properties.get(), H5P_DEFAULT), attempt,
              name_of(path));
        break;
      }
      case H5I_DATASET:
        copy_dataset(group, link, object.get(), properties.get(), path);
        break;
      default:
        throw FormatError(attempt, name_of(path), "an object of an unknown kind");
    }
    paths_.emplace(address, path);
    objects_.push_back(path);
  }

  void copy_symbolic(const OpenGroup& group, const Link& link, hid_t properties, const std::string& name) {
    H5L_info_t info;
    check(H5Lget_info(group.from.get(), link.name.c_str(), &info, H5P_DEFAULT), attempt, name);
    constexpr std::size_t most = std::size_t{1} << 20;
    if (info.u.val_size > most) throw FormatError(attempt, name, "the link is too long");
    std::vector<char> value(info.u.val_size + 1, '\0');
    check(H5Lget_val(group.from.get(), link.name.c_str(), value.data(), info.u.val_size, H5P_DEFAULT), attempt, name);
    if (link.type == H5L_TYPE_SOFT) {
      check(H5Lcreate_soft(value.data(), group.to.get(), link.name.c_str(), properties, H5P_DEFAULT), attempt, name);
    } else if (link.type == H5L_TYPE_EXTERNAL) {
      const char* file = nullptr;
      const char* object = nullptr;
      check(H5Lunpack_elink_val(value.data(), info.u.val_size, nullptr, &file, &object), attempt, name);
      check(H5Lcreate_external(file, object, group.to.get(), link.name.c_str(), properties, H5P_DEFAULT), attempt,
            name);
    } else {
      notes_.push_back("the link " + detail::printable(name) + " is of a kind that this HDF5 library does not know");
    }
  }

  /// The type as the copy has it: the copy of a named type, or a plain one.
  [[nodiscard]] Id type_in_output(hid_t type, std::string_view name) {
    Id copy = checked(H5Tcopy(type), attempt, name);
    if (check(H5Tcommitted(type), attempt, name) == 0) return copy;
    const Address address = address_of(type, name);
    auto named = types_.find(address);
    if (named == types_.end()) {
      const Id created = checked(H5Tget_create_plist(type), attempt, name);
      check(H5Tcommit_anon(output_.file.get(), copy.get(), created.get(), H5P_DEFAULT), attempt, name);
      named = types_.emplace(address, std::move(copy)).first;
    }
    check(H5Iinc_ref(named->second.get()), attempt, name);
    return Id(named->second.get());
  }

  void copy_dataset(const OpenGroup& group, const Link& link, hid_t from, hid_t links, const std::string& path) {
    const std::string name = name_of(path);
    const DatasetInfo info = detail::describe_dataset(from, name, detail::StoredBytes::count);
    const Id type = checked(H5Dget_type(from), attempt, name);
    const detail::TypeContent content = detail::content_of(type.get(), name);
    const auto plan = plan_storage(info, content, path, group.keeps_chunks);
    if (planned_ != nullptr) {
      planned_->push_back({path, info.type.numpy, info.shape, info.size_bytes, plan.has_value(),
                           plan ? plan->chunk : info.chunk, plan ? plan->filters : info.filters});
      return;
    }
    const Id properties = checked(H5Dget_create_plist(from), attempt, name);
    // H5Ocopy() leaves a fill value of variable size, as netCDF's strings have, in the heap of the source (HDF5 1.10).
    const bool copyable = !content.references && !(content.variable && has_fill(properties.get(), name));
    if (!plan && copyable && check(H5Tcommitted(type.get()), attempt, name) == 0) {
      // As it is, without decoding: by the library. Attributes follow, for they may refer to objects.
      const Id how = checked(H5Pcreate(H5P_OBJECT_COPY), attempt, name);
      check(H5Pset_copy_object(how.get(), H5O_COPY_WITHOUT_ATTR_FLAG), attempt, name);
      check(H5Ocopy(group.from.get(), link.name.c_str(), group.to.get(), link.name.c_str(), how.get(), links), attempt,
            name);
      return;
    }
    if (plan) apply_plan(*plan, properties.get(), name);
    const Id space = checked(H5Dget_space(from), attempt, name);
    const Id stored_type = type_in_output(type.get(), name);
    Id to = checked(H5Dcreate2(group.to.get(), link.name.c_str(), stored_type.get(), space.get(), links,
                               properties.get(), H5P_DEFAULT),
                    attempt, name);
    const bool own_storage = info.layout != Layout::virtual_sources && info.layout != Layout::external_files;
    if (info.null_space || (own_storage && info.stored_bytes == 0)) return;  // nothing was ever written
    if (plan && !options_.force_library && is_native_pipeline(plan->filters) && info.size_bytes > copied_here_bytes) {
      leave(info, from, type.get(), std::move(to), *plan, name);
    } else {
      waiting_.push_back(path);
    }
  }

  static bool has_fill(hid_t properties, std::string_view name) {
    H5D_fill_value_t state = H5D_FILL_VALUE_UNDEFINED;
    check(H5Pfill_value_defined(properties, &state), attempt, name);
    return state == H5D_FILL_VALUE_USER_DEFINED;
  }

  /// How a dataset is stored anew; none if it keeps what it has.
  std::optional<RepackDataset> plan_storage(const DatasetInfo& info, const detail::TypeContent& content,
                                            const std::string& path, bool keeps_chunks) {
    StorageOptions storage = options_.storage;
    if (keeps_chunks) storage.chunks = StorageOptions::Chunks::keep;
    const bool named = std::ranges::find(options_.datasets, path) != options_.datasets.end();
    if (named) named_.push_back(path);
    if (!options_.datasets.empty() && !named) return std::nullopt;
    if (!storage.filters && storage.chunks == StorageOptions::Chunks::keep) return std::nullopt;
    const bool chunked = info.layout == Layout::chunked;
    const bool wants_chunks = chunked || storage.chunks != StorageOptions::Chunks::keep || !storage.filters->empty();
    const bool plain = info.layout == Layout::contiguous || info.layout == Layout::compact;
    if (info.null_space || info.shape.rank() == 0 || !(chunked || plain) || !wants_chunks) return std::nullopt;
    if (!chunked && !named && (info.size_bytes < left_as_is_bytes || info.layout == Layout::compact))
      return std::nullopt;
    if (content.references || content.variable) {
      if (named) notes_.push_back(detail::printable(path) + " keeps its storage: its elements have no fixed size");
      return std::nullopt;
    }
    if (storage.chunks == StorageOptions::Chunks::given && storage.chunk.rank() != info.shape.rank()) {
      if (named) {
        throw FormatError("use the chunk shape " + to_string(storage.chunk) + " for", name_of(path),
                          "its shape " + to_string(info.shape) + " has another number of axes");
      }
      if (!storage.filters) return std::nullopt;
    }
    for (const FilterInfo& filter : info.filters) {
      if (is_native_pipeline(std::span(&filter, 1))) continue;
      if (!filter.available) {
        notes_.push_back(detail::printable(path) + " keeps its storage: it needs the filter " + filter.name);
        return std::nullopt;
      }
      // One of a plugin may have parameters of the chunks' shape, and lose digits a second time.
      if (!storage.filters && (filter.id >= H5Z_FILTER_RESERVED || !filter.encodable)) {
        notes_.push_back(detail::printable(path) + " keeps its storage: its filter " + filter.name +
                         " is not applied to other chunks here; give another with --filter");
        return std::nullopt;
      }
    }
    RepackDataset plan;
    plan.path = path;
    plan.item_bytes = info.type.item_bytes;
    plan.shape = info.shape;
    if (chunked) plan.source_chunk = info.chunk;
    plan.chunk = plan_chunk(info, storage);
    plan.filters = storage.filters ? *storage.filters : info.filters;
    const auto decoded = plan.chunk.checked_bytes(plan.item_bytes);
    const auto source_decoded = chunked ? info.chunk.checked_bytes(plan.item_bytes) : decoded;
    if (!decoded || !source_decoded || std::max(*decoded, *source_decoded) > options_.max_chunk_bytes) {
      notes_.push_back(detail::printable(path) + " keeps its storage: its chunks are larger than " +
                       std::to_string(options_.max_chunk_bytes) + " bytes");
      return std::nullopt;
    }
    return plan;
  }

  static Shape plan_chunk(const DatasetInfo& info, const StorageOptions& storage) {
    Shape chunk = natural_chunk(info.shape, info.type.item_bytes);
    if (storage.chunks == StorageOptions::Chunks::given && storage.chunk.rank() == info.shape.rank()) {
      chunk = storage.chunk;
    } else if (storage.chunks != StorageOptions::Chunks::automatic && info.layout == Layout::chunked) {
      chunk = info.chunk;
    }
    for (std::size_t axis = 0; axis < chunk.rank(); ++axis) {
      // A fixed axis cannot have chunks longer than itself.
      if (info.maxshape[axis] == unlimited) continue;
      chunk[axis] = std::min(chunk[axis], std::max<std::uint64_t>(1, info.maxshape[axis]));
    }
    return chunk;
  }

  static void apply_plan(const RepackDataset& plan, hid_t properties, const std::string& name) {
    check(H5Premove_filter(properties, H5Z_FILTER_ALL), attempt, name);
    check(H5Pset_chunk(properties, static_cast<int>(plan.chunk.rank()), detail::to_coordinates(plan.chunk).data()),
          attempt, name);
    check(H5Pset_chunk_opts(properties, 0), attempt, name);
    check(H5Pset_alloc_time(properties, H5D_ALLOC_TIME_INCR), attempt, name);
    for (const FilterInfo& filter : plan.filters) detail::add_filter(properties, filter, name);
  }

  void leave(const DatasetInfo& info, hid_t from, hid_t type, Id to, RepackDataset plan, const std::string& name) {
    plan.fill = detail::stored_fill(from, type, name);
    OutputSpec spec;
    spec.shape = info.shape;
    spec.chunk = plan.chunk;
    output_.datasets.insert_or_assign(plan.path, OutputFile::State::OpenDataset{std::move(to), spec});
    left_.push_back(std::move(plan));
  }

  void check_names() const {
    for (const std::string& wanted : options_.datasets) {
      if (std::ranges::find(named_, wanted) != named_.end()) continue;
      throw FormatError("repack", name_of(wanted),
                        "there is no dataset of that name (runrig info lists those there are)");
    }
  }

  void copy_values(const std::string& path) {
    const std::string name = name_of(path);
    const Id from = checked(H5Dopen2(source_.state().file.get(), path.c_str(), H5P_DEFAULT), attempt, name);
    const Id to = checked(H5Dopen2(output_.file.get(), path.c_str(), H5P_DEFAULT), attempt, name);
    detail::copy_dataset_values(from.get(), to.get(), references_, heartbeat_, name);
  }

  void copy_attributes(const std::string& path) {
    heartbeat_();
    const std::string name = name_of(path);
    const Id from = checked(H5Oopen(source_.state().file.get(), path.c_str(), H5P_DEFAULT), attempt, name);
    const Id to = checked(H5Oopen(output_.file.get(), path.c_str(), H5P_DEFAULT), attempt, name);
    for (const std::string& each : detail::attribute_names(from.get(), name)) {
      const std::string attribute_name = name + " @" + detail::printable(each);
      const Id attribute = checked(H5Aopen(from.get(), each.c_str(), H5P_DEFAULT), attempt, attribute_name);
      const Id type = checked(H5Aget_type(attribute.get()), attempt, attribute_name);
      const Id target_type = type_in_output(type.get(), attribute_name);
      detail::copy_attribute_value(from.get(), to.get(), each, target_type.get(), references_, attribute_name);
    }
  }

  const File& source_;
  OutputFile::State& output_;
  const RepackOptions& options_;
  std::vector<std::string>& notes_;
  const std::function<void()>& heartbeat_;
  std::map<Address, std::string> paths_;  // of what was copied, by where it is in the source
  std::map<Address, Id> types_;           // copies of named types
  std::vector<std::string> objects_;      // in the order of their making
  std::vector<std::string> waiting_;      // datasets whose elements the library copies
  std::vector<std::string> named_;        // those of options_.datasets that were met
  std::vector<RepackDataset> left_;
  std::vector<RepackedDataset>* planned_ = nullptr;
  std::vector<OpenGroup> open_;
  detail::ReferenceMap references_;
};

}  // namespace

namespace {

/// What the properties of a file that is open do not tell of its root group.
void copy_root_properties(hid_t root, hid_t file, const std::string& path) {
  unsigned order = 0;
  unsigned compact = 0;
  unsigned dense = 0;
  check(H5Pget_link_creation_order(root, &order), "create", path);
  check(H5Pset_link_creation_order(file, order), "create", path);
  check(H5Pget_attr_creation_order(root, &order), "create", path);
  check(H5Pset_attr_creation_order(file, order), "create", path);
  check(H5Pget_link_phase_change(root, &compact, &dense), "create", path);
  check(H5Pset_link_phase_change(file, compact, dense), "create", path);
}

}  // namespace

OutputFile OutputFile::create_like(const std::string& path, const File& source, Place place) {
  detail::start_library();
  const hid_t from = source.state().file.get();
  const Id properties = checked(H5Fget_create_plist(from), "create", path);
  const Id access = checked(H5Pcreate(H5P_FILE_ACCESS), "create", path);
  H5F_info2_t info;
  check(H5Fget_info2(from, &info), "create", path);
  // Files of the newer format may hold what the older cannot, as attributes past 64 KiB.
  if (info.super.version >= 2) {
    check(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V18, H5F_LIBVER_LATEST), "create", path);
  }
  const Id root = checked(H5Gopen2(from, "/", H5P_DEFAULT), "create", path);
  copy_root_properties(checked(H5Gget_create_plist(root.get()), "create", path).get(), properties.get(), path);
  hsize_t user_block = 0;
  check(H5Pget_userblock(properties.get(), &user_block), "create", path);
  OutputFile file = create_with(path, properties.get(), access.get(), place);
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min<hsize_t>(user_block, 1 << 20)));
  for (hsize_t done = 0; done < user_block;) {
    const auto size = static_cast<std::size_t>(std::min<hsize_t>(bytes.size(), user_block - done));
    const auto got = check_errno(::pread(source.state().fd.get(), bytes.data(), size, static_cast<off_t>(done)), "read",
                                 source.path());
    if (got == 0) break;
    file.state_->put(std::span(bytes).first(static_cast<std::size_t>(got)), done);
    done += static_cast<hsize_t>(got);
  }
  return file;
}

std::vector<RepackedDataset> plan_copy(const File& source, const RepackOptions& options,
                                       std::vector<std::string>& notes, const std::function<void()>& heartbeat) {
  detail::start_library();
  // The groups are made in memory: a path that no file can have, for the library looks for one first.
  const Id access = checked(H5Pcreate(H5P_FILE_ACCESS), attempt, source.path());
  check(H5Pset_fapl_core(access.get(), std::size_t{1} << 20, false), attempt, source.path());
  OutputFile::State output;
  output.path = source.path();
  output.file =
      checked(H5Fcreate("/dev/null/runrig", H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), attempt, source.path());
  std::vector<RepackedDataset> planned;
  FileCopy(source, output, options, notes, heartbeat).plan(planned);
  return planned;
}

std::vector<RepackDataset> copy_file(const File& source, OutputFile& output, const RepackOptions& options,
                                     std::vector<std::string>& notes, const std::function<void()>& heartbeat) {
  return FileCopy(source, output.state(), options, notes, heartbeat).run();
}

}  // namespace runrig::hdf5
