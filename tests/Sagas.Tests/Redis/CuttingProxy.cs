using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Sagas.Tests.Redis;

/// <summary>Stands between a program and its Redis, and cuts the connection when it is told to: after a script went in, before its answer comes out.</summary>
internal sealed class CuttingProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly int _port;
    private readonly Task _accepting;
    private int _armed, _cuts;

    public CuttingProxy(int port)
    {
        _port = port;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    public string Address => $"127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}";

    public int Cuts => Volatile.Read(ref _cuts);

    /// <summary>The next script is carried out, and nobody hears of it.</summary>
    public void CutNextAnswer() => Volatile.Write(ref _armed, 1);

    public async ValueTask DisposeAsync()
    {
        _listener.Stop();
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            var client = await _listener.AcceptTcpClientAsync();
            var server = new TcpClient();
            await server.ConnectAsync(IPAddress.Loopback, _port);
            var cut = new TaskCompletionSource();
            _ = Task.WhenAny(CopyAsync(client, server, watch: true, cut), CopyAsync(server, client, watch: false, cut)).ContinueWith(_ =>
            {
                client.Dispose();
                server.Dispose();
            }, TaskScheduler.Default);
        }
    }

    private async Task CopyAsync(TcpClient from, TcpClient to, bool watch, TaskCompletionSource cut)
    {
        var buffer = new byte[64 * 1024];
        while (await from.GetStream().ReadAsync(buffer) is > 0 and var read)
        {
            // The server's answer to what was cut: it has been carried out, and that is all anybody needs to know.
            if (!watch && cut.Task.IsCompleted)
            {
                Interlocked.Increment(ref _cuts);
                return;
            }
            if (watch && Encoding.ASCII.GetString(buffer, 0, read).Contains("EVALSHA", StringComparison.Ordinal) && Interlocked.Exchange(ref _armed, 0) == 1) cut.SetResult();
            await to.GetStream().WriteAsync(buffer.AsMemory(0, read));
        }
    }
}
