#include "common/log.h"

#include <memory>

#include "common/utf8.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace grpo {
namespace {

// The message, with nothing in it that others could have put there for the terminal or the reader of the log.
class EscapedMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string text = EscapedForLog({message.payload.data(), message.payload.size()});
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<EscapedMessage>(); }
};

}  // namespace

void InitLogging(const std::string& role) {
  auto logger = std::make_shared<spdlog::logger>(role, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<EscapedMessage>('*').set_pattern("%Y-%m-%d %H:%M:%S.%e %L %n] %*");
  logger->set_formatter(std::move(formatter));
  logger->flush_on(spdlog::level::trace);
  // Never ends: a thread that lives as long as the process may log while that exits.
  static auto* const kept = new std::shared_ptr<spdlog::logger>;
  *kept = logger;
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace grpo
