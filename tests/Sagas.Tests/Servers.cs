using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Sagas.Tests;

/// <summary>The real servers that tests share. Each starts when the first test asks for it, on free ports of 127.0.0.1, and ends with the tests.</summary>
internal static class Servers
{
    private static readonly Lock s_lock = new();
    private static readonly Dictionary<string, Task<IAsyncDisposable>> s_shared = [];

    /// <summary>The server of that name, started once.</summary>
    internal static async Task<T> ShareAsync<T>(string name, Func<Task<T>> start) where T : IAsyncDisposable
    {
        Task<IAsyncDisposable>? server;
        lock (s_lock)
            if (!s_shared.TryGetValue(name, out server)) s_shared[name] = server = Task.Run(async () => (IAsyncDisposable)await start());
        return (T)await server;
    }

    /// <summary>Ends those that were started.</summary>
    public static async ValueTask EndAsync()
    {
        Task<IAsyncDisposable>[] all;
        lock (s_lock) all = [.. s_shared.Values];
        foreach (var server in all.Where(static server => server.IsCompletedSuccessfully)) await (await server).DisposeAsync();
    }

    /// <summary>Ports that were free a moment ago.</summary>
    internal static int[] FreePorts(int count)
    {
        var listeners = Enumerable.Range(0, count).Select(static _ => new TcpListener(IPAddress.Loopback, 0)).ToArray();
        foreach (var listener in listeners) listener.Start();
        var ports = listeners.Select(static listener => ((IPEndPoint)listener.LocalEndpoint).Port).ToArray();
        foreach (var listener in listeners) listener.Stop();
        return ports;
    }
}

/// <summary>A server's process. It ends with this one, however this one ends: a shell between them kills it as soon as the shell's input closes.</summary>
internal sealed class ServerProcess : IAsyncDisposable
{
    private readonly Process _guard;
    private readonly List<string> _output = [];

    private ServerProcess(Process guard) => _guard = guard;

    public int Pid { get; private set; }

    /// <summary>Starts a program and returns when it has written a line with <paramref name="ready"/> in it.</summary>
    public static async Task<ServerProcess> StartAsync(string program, IEnumerable<string> arguments, string ready, IReadOnlyDictionary<string, string>? environment = null)
    {
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (string[])["-c", "\"$@\" & echo \"pid $!\"; read _; kill -9 $! 2>/dev/null; wait", "sh", program, .. arguments]) start.ArgumentList.Add(argument);
        foreach (var (key, value) in environment ?? new Dictionary<string, string>()) start.Environment[key] = value;
        var server = new ServerProcess(Process.Start(start)!);
        var isReady = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        void Read(string? line)
        {
            if (line is null)
            {
                isReady.TrySetException(new InvalidOperationException($"{program} ended:\n{server.Output}"));
                return;
            }
            if (line.StartsWith("pid ", StringComparison.Ordinal) && server.Pid == 0) server.Pid = int.Parse(line[4..]);
            lock (server._output) server._output.Add(line);
            if (line.Contains(ready, StringComparison.Ordinal)) isReady.TrySetResult();
        }
        server._guard.OutputDataReceived += (_, line) => Read(line.Data);
        server._guard.ErrorDataReceived += (_, line) => Read(line.Data ?? "");
        server._guard.BeginOutputReadLine();
        server._guard.BeginErrorReadLine();
        try
        {
            await isReady.Task.WaitAsync(TimeSpan.FromSeconds(60));
            return server;
        }
        catch (Exception e)
        {
            await server.DisposeAsync();
            throw new InvalidOperationException($"{program} did not say '{ready}':\n{server.Output}", e);
        }
    }

    public string Output
    {
        get { lock (_output) return string.Join('\n', _output.TakeLast(50)); }
    }

    /// <summary>Sends the server a signal: KILL, STOP, CONT, TERM.</summary>
    public void Signal(string name) => Process.Start("/bin/kill", [$"-{name}", $"{Pid}"]).WaitForExit();

    public async ValueTask DisposeAsync()
    {
        try
        {
            _guard.StandardInput.Close();
        }
        catch (IOException)
        {
            // The guard has ended before.
        }
        // What the server has started, and leaves behind, may keep its output open; it is not waited for.
        await _guard.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(30)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _guard.Dispose();
    }
}
