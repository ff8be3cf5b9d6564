using System.Net;
using System.Net.Sockets;

namespace Sagas.UnderFire;

/// <summary>Stands between two processes. It can hold back what goes one way, or both, or slow it down; what was held back is lost, and the connection with it.</summary>
internal sealed class Proxy : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private readonly HashSet<Connection> _connections = [];
    private readonly int _port;
    private volatile Flow _request = new(), _answer = new();
    private long _held;

    /// <param name="name">Between whom it stands.</param>
    /// <param name="port">The server's port.</param>
    public Proxy(string name, int port)
    {
        (Name, _port) = (name, port);
        _listener.Start();
        _ = AcceptAsync();
    }

    public string Name { get; }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Lets nothing through, either to the server, or from it, or both, then cuts the connections. How many pieces it held back.</summary>
    public async Task<long> CutAsync(bool requests, bool answers, TimeSpan time, CancellationToken cancel)
    {
        var before = Interlocked.Read(ref _held);
        var gate = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        if (requests) _request = new Flow(gate.Task);
        if (answers) _answer = new Flow(gate.Task);
        await Task.Delay(time, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        (_request, _answer) = (new Flow(), new Flow());
        Sever();
        gate.SetResult();
        return Interlocked.Read(ref _held) - before;
    }

    /// <summary>Passes everything on late. How many pieces were late.</summary>
    public async Task<long> SlowAsync(TimeSpan by, TimeSpan time, CancellationToken cancel)
    {
        var before = Interlocked.Read(ref _held);
        (_request, _answer) = (new Flow(By: by), new Flow(By: by));
        await Task.Delay(time, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        (_request, _answer) = (new Flow(), new Flow());
        return Interlocked.Read(ref _held) - before;
    }

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Stop();
        Sever();
        _stop.Dispose();
    }

    private void Sever()
    {
        Connection[] all;
        lock (_lock) all = [.. _connections];
        foreach (var connection in all) connection.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (!_stop.IsCancellationRequested) _ = ServeAsync(await _listener.AcceptTcpClientAsync(_stop.Token));
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // It is over.
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        var connection = new Connection(client, new TcpClient { NoDelay = true });
        client.NoDelay = true;
        lock (_lock) _connections.Add(connection);
        try
        {
            await connection.Server.ConnectAsync(IPAddress.Loopback, _port);
            await Task.WhenAny(CopyAsync(client, connection.Server, () => _request), CopyAsync(connection.Server, client, () => _answer));
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // The server is away. Its client sees a closed connection.
        }
        finally
        {
            lock (_lock) _connections.Remove(connection);
            connection.Dispose();
        }
    }

    private async Task CopyAsync(TcpClient from, TcpClient to, Func<Flow> flow)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (await from.GetStream().ReadAsync(buffer) is > 0 and var read)
            {
                var now = flow();
                if (now.Gate is not null || now.By > TimeSpan.Zero) Interlocked.Increment(ref _held);
                if (now.By > TimeSpan.Zero) await Task.Delay(now.By);
                if (now.Gate is not null) await now.Gate;
                await to.GetStream().WriteAsync(buffer.AsMemory(0, read));
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // Somebody closed it.
        }
    }

    private sealed record Flow(Task? Gate = null, TimeSpan By = default);

    private sealed record Connection(TcpClient Client, TcpClient Server) : IDisposable
    {
        public void Dispose()
        {
            Client.Dispose();
            Server.Dispose();
        }
    }
}
