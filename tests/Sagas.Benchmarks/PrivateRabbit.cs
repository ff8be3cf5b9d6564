using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Sagas.Benchmarks;

/// <summary>A rabbitmq-server of the benchmark's own, on free ports of this machine, with its own name server, data and home.</summary>
internal sealed class PrivateRabbit : IAsyncDisposable
{
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
        var directory = Directory.CreateDirectory(Path.Combine(path, "rabbitmq")).FullName;
        var ports = FreePorts(3);
        await File.WriteAllTextAsync(Path.Combine(directory, "plugins"), "[].");
        await File.WriteAllTextAsync(Path.Combine(directory, "rabbitmq.conf"), "");
        var names = Process.Start(new ProcessStartInfo("epmd", ["-port", $"{ports[1]}", "-address", "127.0.0.1"]))!;
        // Debian's program of that name on the path changes its user first.
        var program = File.Exists("/usr/lib/rabbitmq/bin/rabbitmq-server") ? "/usr/lib/rabbitmq/bin/rabbitmq-server" : "rabbitmq-server";
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true };
        foreach (var (key, value) in new (string, string)[]
        {
            ("HOME", directory), ("RABBITMQ_NODENAME", $"sagas{ports[0]}@localhost"), ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1"), ("RABBITMQ_NODE_PORT", $"{ports[0]}"),
            ("ERL_EPMD_PORT", $"{ports[1]}"), ("ERL_EPMD_ADDRESS", "127.0.0.1"), ("RABBITMQ_DIST_PORT", $"{ports[2]}"), ("RABBITMQ_MNESIA_BASE", Path.Combine(directory, "data")),
            ("RABBITMQ_LOG_BASE", directory), ("RABBITMQ_LOGS", "-"), ("RABBITMQ_ENABLED_PLUGINS_FILE", Path.Combine(directory, "plugins")),
            ("RABBITMQ_CONFIG_FILE", Path.Combine(directory, "rabbitmq")), ("RABBITMQ_PID_FILE", Path.Combine(directory, "pid")),
            // Or else a shell stands between, and what it started survives it.
            ("RABBITMQ_ALLOW_INPUT", "1"), ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-noinput"),
        }) start.Environment[key] = value;
        var server = Process.Start(start)!;
        while (await server.StandardOutput.ReadLineAsync() is { } line)
            if (line.Contains("Server startup complete", StringComparison.Ordinal))
            {
                _ = server.StandardOutput.ReadToEndAsync();
                return new PrivateRabbit(names, server, ports[0]);
            }
        names.Kill();
        throw new InvalidOperationException("rabbitmq-server did not start. Install it, or name one with --rabbitmq amqp://HOST:PORT.");
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var process in new[] { _server, _names })
        {
            if (!process.HasExited) process.Kill();
            await process.WaitForExitAsync();
            process.Dispose();
        }
    }

    private static int[] FreePorts(int count)
    {
        var probes = Enumerable.Range(0, count).Select(_ => new TcpListener(IPAddress.Loopback, 0)).ToArray();
        foreach (var probe in probes) probe.Start();
        int[] ports = [.. probes.Select(probe => ((IPEndPoint)probe.LocalEndpoint).Port)];
        foreach (var probe in probes) probe.Stop();
        return ports;
    }
}
