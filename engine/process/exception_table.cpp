#include "exception_table.hpp"

#include <future>
#include <ios>
#include <map>
#include <memory>
#include <mutex>
#include <system_error>

#include "runrig/sync/fork_hooks.hpp"

namespace runrig::detail {
namespace {

/// Stands for a category of the program's own, whose object cannot be named across processes.
class RemoteCategory final : public std::error_category {
 public:
  explicit RemoteCategory(std::string name) : name_(std::move(name)) {}
  [[nodiscard]] const char* name() const noexcept override { return name_.c_str(); }
  [[nodiscard]] std::string message(int value) const override {
    return "error " + std::to_string(value) + " of category " + name_ + ", from another process";
  }

 private:
  std::string name_;
};

struct Tables {
  std::mutex mutex;
  ExceptionKinds kinds = standard_exception_kinds();
  std::map<std::string, std::unique_ptr<const RemoteCategory>> categories;
};

Tables& tables();
void lock_tables() { tables().mutex.lock(); }
void unlock_tables() { tables().mutex.unlock(); }

Tables* make_tables() {
  auto made = std::make_unique<Tables>();
  // A child must not find the mutex locked by a thread that it does not have.
  add_fork_hooks(lock_tables, unlock_tables, unlock_tables);
  return made.release();
}

Tables& tables() {
  // Never destroyed: exceptions are thrown in destructors of static objects, too, and keep their categories.
  static Tables* const all = make_tables();
  return *all;
}

}  // namespace

std::optional<ExceptionKind> find_exception_kind(const std::string& type_id) {
  Tables& known = tables();
  const std::lock_guard guard(known.mutex);
  const auto found = known.kinds.find(type_id);
  return found == known.kinds.end() ? std::nullopt : std::optional(found->second);
}

std::error_code code_of(const ExceptionRecord& record) {
  for (const std::error_category* category : {&std::generic_category(), &std::system_category(), &error_category(),
                                              &std::iostream_category(), &std::future_category()}) {
    if (record.category == category->name()) return {record.code, *category};
  }
  Tables& known = tables();
  const std::lock_guard guard(known.mutex);
  auto& category = known.categories[record.category];
  if (!category) category = std::make_unique<const RemoteCategory>(record.category);
  return {record.code, *category};
}

ExceptionRegistration::ExceptionRegistration(const std::type_info& type, ExceptionKind kind) : type_id_(type.name()) {
  Tables& known = tables();
  const std::lock_guard guard(known.mutex);
  known.kinds.insert_or_assign(type_id_, kind);
}

ExceptionRegistration::~ExceptionRegistration() {
  Tables& known = tables();
  const std::lock_guard guard(known.mutex);
  known.kinds.erase(type_id_);
}

}  // namespace runrig::detail
