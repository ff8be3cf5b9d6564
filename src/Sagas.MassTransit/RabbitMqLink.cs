using System.Security.Authentication;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using RabbitMQ.Client;
using RabbitMQ.Client.Events;
using RabbitMQ.Client.Exceptions;
using Sagas.Runtime;

namespace Sagas.MassTransit;

/// <summary>What MassTransit has no word for: to see whether RabbitMQ can be reached, to make queues, and a connection for what is seldom asked.</summary>
internal sealed class RabbitMqLink(IOptions<RabbitMqOptions> options, TimeProvider time, ILogger<RabbitMqBus> logger) : IAsyncDisposable
{
    private readonly SemaphoreSlim _gate = new(1);
    private IConnection? _connection;
    private volatile string? _fault;

    /// <summary>Why RabbitMQ cannot be reached; null: it can, as far as is known.</summary>
    public string? Fault => _fault;

    /// <summary>Returns when a connection can be made.</summary>
    public async Task ReachAsync(CancellationToken cancel)
    {
        while (true)
        {
            cancel.ThrowIfCancellationRequested();
            try
            {
                await using var connection = await ConnectAsync("looks", cancel);
                await using var channel = await connection.CreateChannelAsync(cancellationToken: cancel);      // only now does it say that there is no such virtual host
                await connection.CloseAsync(cancel);
                if (Interlocked.Exchange(ref _fault, null) is not null) EnvelopeLog.Reached(logger, options.Value.Address);
                return;
            }
            catch (Exception e) when (!cancel.IsCancellationRequested)
            {
                var why = Why(e);
                if (Interlocked.Exchange(ref _fault, why) != why) EnvelopeLog.Unreachable(logger, why);
            }
            await Task.Delay(TimeSpan.FromSeconds(1), time, cancel);
        }
    }

    /// <summary>Does something over the connection for what is seldom asked, one thing at a time.</summary>
    /// <exception cref="BusUnavailableException">RabbitMQ does not answer.</exception>
    public async Task<T> UseAsync<T>(Func<IConnection, CancellationToken, Task<T>> work, CancellationToken cancel)
    {
        await _gate.WaitAsync(cancel);
        try
        {
            if (_connection is { IsOpen: false })
            {
                await _connection.DisposeAsync();
                _connection = null;
            }
            _connection ??= await ConnectAsync("makes queues and keeps dead letters", cancel);
            return await work(_connection, cancel);
        }
        catch (Exception e) when (e is BrokerUnreachableException or OperationInterruptedException or IOException or TimeoutException or PublishException
            || (e is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            throw new BusUnavailableException(Why(e), e);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>How many messages wait in a queue and how many consumers it has; null: it is not there.</summary>
    public static async Task<(long Messages, long Consumers)?> LookAsync(IConnection connection, string queue, CancellationToken cancel)
    {
        await using var channel = await connection.CreateChannelAsync(cancellationToken: cancel);
        try
        {
            var there = await channel.QueueDeclarePassiveAsync(queue, cancel);
            return (there.MessageCount, there.ConsumerCount);
        }
        catch (OperationInterruptedException e) when (e.ShutdownReason?.ReplyCode == Constants.NotFound)
        {
            return null;
        }
    }

    /// <summary>Makes an envelope queue unless there is one of that name, whatever its kind: a participant in another language may have made it.</summary>
    public async Task MakeAsync(IConnection connection, string queue, bool isReplies, CancellationToken cancel)
    {
        var arguments = new Dictionary<string, object?>();
        if (isReplies) arguments["x-expires"] = (long)options.Value.ReplyQueueExpiry.TotalMilliseconds;
        await MakeAsync(connection, queue, arguments, cancel);
        // MassTransit declares an exchange for each queue that it listens to. Bound to the queue it goes with it, and is a second way in for MassTransit's own senders.
        // That it is there says that nobody has deleted the queue since.
        await using var channel = await connection.CreateChannelAsync(cancellationToken: cancel);
        await channel.ExchangeDeclareAsync(queue, ExchangeType.Fanout, durable: true, autoDelete: true, cancellationToken: cancel);
        await channel.QueueBindAsync(queue, queue, "", cancellationToken: cancel);
    }

    /// <summary>Whether the queue is the one that was made here, and not one made anew by somebody else.</summary>
    public static async Task<bool> IsMadeAsync(IConnection connection, string queue, CancellationToken cancel)
    {
        await using var channel = await connection.CreateChannelAsync(cancellationToken: cancel);
        try
        {
            await channel.ExchangeDeclarePassiveAsync(queue, cancel);
            return true;
        }
        catch (OperationInterruptedException e) when (e.ShutdownReason?.ReplyCode == Constants.NotFound)
        {
            return false;
        }
    }

    /// <summary>Makes a durable queue of the wanted kind unless there is one of that name.</summary>
    public async Task MakeAsync(IConnection connection, string queue, Dictionary<string, object?> arguments, CancellationToken cancel)
    {
        if (await IsThereAsync(connection, queue, cancel)) return;
        if (options.Value.Queues == QueueKind.Quorum)
        {
            try
            {
                // Over a connection of its own: a server that has no quorum queues may close the one on which it is asked for one.
                await using var asking = await ConnectAsync("makes a queue", cancel);
                await DeclareAsync(asking, queue, new Dictionary<string, object?>(arguments) { ["x-queue-type"] = "quorum" }, cancel);
                return;
            }
            catch (OperationInterruptedException e)
            {
                // Somebody else was faster, or this server knows no quorum queues.
                if (await IsThereAsync(connection, queue, cancel)) return;
                if (!KnowsNoQuorum(e.ShutdownReason)) throw;
                EnvelopeLog.NoQuorum(logger, queue, e.ShutdownReason!.ReplyText);
            }
        }
        // Newer servers have priorities in every quorum queue, older ones in classic queues that ask for them.
        await DeclareAsync(connection, queue, new Dictionary<string, object?>(arguments) { ["x-max-priority"] = 9 }, cancel);
    }

    /// <summary>Whether that is why, and not that the server is in trouble: a queue stays what it was made.</summary>
    private static bool KnowsNoQuorum(ShutdownEventArgs? reason) => reason is { ReplyCode: Constants.NotImplemented }
        || (reason?.ReplyText is { } text && (text.Contains("feature flag", StringComparison.Ordinal) || text.Contains("queue-type", StringComparison.Ordinal)));

    private static async Task DeclareAsync(IConnection connection, string queue, Dictionary<string, object?> with, CancellationToken cancel)
    {
        // RabbitMQ closes a channel on which something fails, so each question has its own.
        await using var channel = await connection.CreateChannelAsync(cancellationToken: cancel);
        await channel.QueueDeclareAsync(queue, durable: true, exclusive: false, autoDelete: false, with, cancellationToken: cancel);
    }

    public async ValueTask DisposeAsync()
    {
        if (_connection is not null) await _connection.DisposeAsync();
        _connection = null;
    }

    private static async Task<bool> IsThereAsync(IConnection connection, string queue, CancellationToken cancel) => await LookAsync(connection, queue, cancel) is not null;

    private Task<IConnection> ConnectAsync(string purpose, CancellationToken cancel)
    {
        var factory = new ConnectionFactory();
        options.Value.Apply(factory);
        return factory.CreateConnectionAsync($"sagas {Environment.MachineName} {Environment.ProcessId} {purpose}", cancel);
    }

    /// <summary>Names address and user, what to look at, and no password.</summary>
    private string Why(Exception error)
    {
        var told = options.Value;
        var (root, login) = (error, false);
        for (var e = error; e is not null; e = e is AggregateException { InnerExceptions: [var first, ..] } ? first : e.InnerException)
        {
            root = e;
            login |= e is AuthenticationFailureException;
        }
        if (login) return $"RabbitMQ at {told.Address} refuses user '{told.User}' or the password. Look at Sagas:RabbitMq:Username and Sagas:RabbitMq:Password, or at both in Sagas:RabbitMq:Url.";
        if (root is AuthenticationException)
            return $"RabbitMQ at {told.Address} cannot be spoken to by TLS: {root.Message.TrimEnd('.')}. Does it speak TLS on this port, is its certificate for Sagas:RabbitMq:Tls:ServerName, and from an authority that this machine or Sagas:RabbitMq:Tls:CaFile trusts?";
        var reason = root is OperationInterruptedException { ShutdownReason.ReplyText: { } text } ? text : root.Message;
        return $"RabbitMQ at {told.Address} cannot be reached: {reason.TrimEnd('.')}. Is it running, and is Sagas:RabbitMq:Url right?";
    }
}
