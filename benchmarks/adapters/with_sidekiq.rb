# Sidekiq. The acts are those of common.py; the worker is Sidekiq's own command, which loads this.
require 'json'
require 'sidekiq'

Sidekiq.configure_server { |config| config.redis = { url: ENV['BENCH_URL'] } }
Sidekiq.configure_client { |config| config.redis = { url: ENV['BENCH_URL'] } }
Sidekiq.logger.level = Logger::WARN

TEXT = 'x' * 89
RECORD = 16
WARM = 5
NOTES = Mutex.new

def note
  $notes || NOTES.synchronize do
    $notes ||= File.open(ENV['BENCH_NOTES'], File::WRONLY | File::APPEND | File::CREAT)
  end
  $notes.syswrite([Time.now.to_f, Process.pid].pack('Eq<'))
end

class Noop
  include Sidekiq::Worker

  def perform(_text)
    note
  end
end

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

def seconds
  started = now
  yield
  now - started
end

def many(number)
  while number.positive?
    Sidekiq::Client.push_bulk('class' => Noop, 'args' => Array.new([1000, number].min) { [TEXT] })
    number -= 1000
  end
end

def ran(number)
  finish = now + 30
  until (File.size?(ENV['BENCH_NOTES']) || 0) >= number * RECORD
    abort "job #{number} did not run within 30 s" if now > finish
    sleep 0.002
  end
end

def ping(number, low, high)
  (number + WARM).times.map do |nth|
    sleep rand(low..high)
    sent = Time.now.to_f
    Noop.perform_async(TEXT)
    ran(nth + 1)
    sent
  end.drop(WARM)
end

def answer(act, args)
  number = args[0].to_i
  case act
  when 'ping' then { sent: ping(number, args[1].to_f, args[2].to_f) }
  when 'one'
    Noop.perform_async(TEXT)
    { seconds: seconds { (number - 1).times { Noop.perform_async(TEXT) } } }
  when 'fill' then { seconds: seconds { many(number) } }
  when 'bulk'
    many(1000)
    { seconds: seconds { many(number * 1000) } }
  else {}
  end
end

puts JSON.generate(answer(ARGV[0], ARGV[1..])) if $PROGRAM_NAME == __FILE__
