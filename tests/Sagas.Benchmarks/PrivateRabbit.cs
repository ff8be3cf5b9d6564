using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Sagas.Benchmarks;

/// <summary>A rabbitmq-server of the benchmark's own, with the defaults of its package, on free ports of this machine: beside any other, and gone without a trace.</summary>
internal sealed class PrivateRabbit : IAsyncDisposable
{
    // Debian's program of that name on the path changes its user first.
    private const string Debian = "/usr/lib/rabbitmq/bin/rabbitmq-server";

    private readonly Process _names, _server;

    private PrivateRabbit(Process names, Process server, int port) => (_names, _server, Url) = (names, server, $"amqp://127.0.0.1:{port}");

    public string Url { get; }

    /// <summary>What it has used of the processors so far.</summary>
    public TimeSpan Cpu
    {
        get
        {
            _server.Refresh();
            return _server.TotalProcessorTime;
        }
    }

    public static async Task<PrivateRabbit> StartAsync(string path)
    {
        var home = Directory.CreateDirectory(Path.Combine(path, "rabbitmq")).FullName;
        await File.WriteAllTextAsync(Path.Combine(home, "plugins"), "[].");
        await File.WriteAllTextAsync(Path.Combine(home, "rabbitmq.conf"), "");
        var listeners = Enumerable.Range(0, 3).Select(static _ => new TcpListener(IPAddress.Loopback, 0)).ToArray();
        foreach (var listener in listeners) listener.Start();
        var ports = listeners.Select(static listener => ((IPEndPoint)listener.LocalEndpoint).Port).ToArray();
        foreach (var listener in listeners) listener.Stop();
        // Its own name server too: the usual one outlives whoever starts it.
        var names = await StartAsync("epmd", ["-d", "-port", $"{ports[1]}", "-address", "127.0.0.1"], "epmd running", []);
        try
        {
            var server = await StartAsync(File.Exists(Debian) ? Debian : "rabbitmq-server", [], "Server startup complete", new()
            {
                ["HOME"] = home,                                // the cookie
                ["RABBITMQ_NODENAME"] = $"bench{ports[0]}@localhost",
                ["RABBITMQ_NODE_IP_ADDRESS"] = "127.0.0.1",
                ["RABBITMQ_NODE_PORT"] = $"{ports[0]}",
                ["RABBITMQ_DIST_PORT"] = $"{ports[2]}",
                ["ERL_EPMD_PORT"] = $"{ports[1]}",
                ["ERL_EPMD_ADDRESS"] = "127.0.0.1",
                ["RABBITMQ_MNESIA_BASE"] = Path.Combine(home, "data"),
                ["RABBITMQ_LOG_BASE"] = home,
                ["RABBITMQ_LOGS"] = "-",
                ["RABBITMQ_ENABLED_PLUGINS_FILE"] = Path.Combine(home, "plugins"),
                ["RABBITMQ_CONFIG_FILE"] = Path.Combine(home, "rabbitmq"),
                ["RABBITMQ_PID_FILE"] = Path.Combine(home, "pid"),
                ["RABBITMQ_ALLOW_INPUT"] = "1",                 // or else a shell stands between, and what it started survives it
                ["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] = "-noinput",
            });
            return new PrivateRabbit(names, server, ports[0]);
        }
        catch
        {
            await EndAsync(names);
            throw;
        }
    }

    private static async Task<Process> StartAsync(string program, string[] arguments, string ready, Dictionary<string, string> environment)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (key, value) in environment) start.Environment[key] = value;
        var process = Process.Start(start)!;
        var isReady = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        void Read(string? line)
        {
            if (line?.Contains(ready, StringComparison.Ordinal) == true) isReady.TrySetResult(true);
        }
        process.OutputDataReceived += (_, line) => Read(line.Data);
        process.ErrorDataReceived += (_, line) => Read(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        _ = process.WaitForExitAsync().ContinueWith(_ => isReady.TrySetResult(false), TaskScheduler.Default);
        if (await isReady.Task) return process;
        throw new InvalidOperationException($"{program} did not start. Install rabbitmq-server, or name one with --rabbitmq amqp://HOST:PORT.");
    }

    public async ValueTask DisposeAsync()
    {
        await EndAsync(_server);
        await EndAsync(_names);
    }

    private static async Task EndAsync(Process process)
    {
        if (!process.HasExited) process.Kill();
        await process.WaitForExitAsync();
        process.Dispose();
    }
}
